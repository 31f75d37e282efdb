//! MATLAB's files of version 5, written.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

/// A variable.
#[derive(Clone, Debug)]
pub enum Mat {
    /// A row of doubles.
    Doubles(Vec<f64>),
    /// A row of unsigned bytes, stored small where they fit.
    Bytes(Vec<f64>),
    /// A row of characters.
    Text(String),
    /// A row of cells.
    Cells(Vec<Mat>),
    /// A row of structures: each field with its values.
    Structures(Vec<(&'static str, Vec<Mat>)>),
}

/// A file of variables, each compressed or not.
pub fn file(variables: &[(&str, Mat)], compressed: bool) -> Vec<u8> {
    let mut bytes = b"MATLAB 5.0 MAT-file, made for a test".to_vec();
    bytes.resize(124, b' ');
    bytes.extend([0, 1, b'I', b'M']);
    for (name, value) in variables {
        let matrix = matrix(name, value);
        if compressed {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&matrix).unwrap();
            let packed = encoder.finish().unwrap();
            // Compressed elements alone are not filled up.
            bytes.extend([15_u32, packed.len() as u32].map(u32::to_le_bytes).concat());
            bytes.extend(packed);
        } else {
            bytes.extend(matrix);
        }
    }
    bytes
}

/// An element: type, length and data, filled up to eight bytes, or in eight bytes if the data has at most four.
fn element(kind: u32, data: &[u8]) -> Vec<u8> {
    if (1..=4).contains(&data.len()) {
        let mut small = ((data.len() as u32) << 16 | kind).to_le_bytes().to_vec();
        small.extend(data);
        small.resize(8, 0);
        return small;
    }
    let mut bytes = [kind, data.len() as u32].map(u32::to_le_bytes).concat();
    bytes.extend(data);
    bytes.resize(bytes.len().div_ceil(8) * 8, 0);
    bytes
}

fn matrix(name: &str, value: &Mat) -> Vec<u8> {
    let (class, count, data) = match value {
        Mat::Doubles(values) => {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (6_u8, values.len(), element(9, &bytes))
        }
        Mat::Bytes(values) => {
            let bytes: Vec<u8> = values.iter().map(|&value| value as u8).collect();
            (9, values.len(), element(2, &bytes))
        }
        Mat::Text(text) => {
            let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            (4, text.encode_utf16().count(), element(4, &units))
        }
        Mat::Cells(cells) => (1, cells.len(), cells.iter().flat_map(|cell| matrix("", cell)).collect()),
        Mat::Structures(fields) => {
            let count = fields[0].1.len();
            let names = fields.iter().flat_map(|(name, _)| {
                let mut name = name.as_bytes().to_vec();
                name.resize(32, 0);
                name
            });
            let mut data = [element(5, &32_i32.to_le_bytes()), element(1, &names.collect::<Vec<u8>>())].concat();
            for at in 0..count {
                data.extend(fields.iter().flat_map(|(_, values)| matrix("", &values[at])));
            }
            (2, count, data)
        }
    };
    let flags = element(6, &[class, 0, 0, 0, 0, 0, 0, 0]);
    let sides = element(5, &[1_i32, count as i32].map(i32::to_le_bytes).concat());
    let inner = [flags, sides, element(1, name.as_bytes()), data].concat();
    let mut bytes = [14_u32, inner.len() as u32].map(u32::to_le_bytes).concat();
    bytes.extend(inner);
    bytes
}
