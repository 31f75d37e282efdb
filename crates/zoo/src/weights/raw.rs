//! Tensors as a file stores them, and the few rearrangements that other programs' namings ask for.

use burn::tensor::{bf16, f16};
pub use safetensors::Dtype;

use super::Entry;

/// One tensor with the element type of its file.
#[derive(Clone, Debug, PartialEq)]
pub struct RawTensor {
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Little-endian elements in row-major order.
    pub bytes: Vec<u8>,
}

impl RawTensor {
    /// The tensor as 32-bit floats: floats of 8, 16 and 64 bits, integers and Booleans are converted, the latter to zero
    /// and one.
    ///
    /// # Errors
    /// An element type that has no values of its own (scales of quantised weights), as a sentence.
    pub fn into_entry(self) -> Result<Entry, String> {
        Ok(Entry { values: floats(self.dtype, &self.bytes)?, shape: self.shape })
    }

    fn from_floats(shape: Vec<usize>, values: &[f32]) -> Self {
        Self { dtype: Dtype::F32, shape, bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect() }
    }

    fn element_size(&self) -> usize {
        self.dtype.bitsize() / 8
    }
}

fn floats(dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>, String> {
    fn map<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| convert(*chunk)).collect()
    }
    Ok(match dtype {
        Dtype::F32 => map(bytes, f32::from_le_bytes),
        Dtype::F64 => map(bytes, |x| f64::from_le_bytes(x) as f32),
        Dtype::F16 => map(bytes, |x| f16::from_le_bytes(x).to_f32()),
        Dtype::BF16 => map(bytes, |x| bf16::from_le_bytes(x).to_f32()),
        Dtype::F8_E5M2 => map(bytes, |[x]| f16::from_bits(u16::from(x) << 8).to_f32()),
        Dtype::F8_E4M3 => map(bytes, |[x]| e4m3(x)),
        Dtype::I64 => map(bytes, |x| i64::from_le_bytes(x) as f32),
        Dtype::I32 => map(bytes, |x| i32::from_le_bytes(x) as f32),
        Dtype::I16 => map(bytes, |x| f32::from(i16::from_le_bytes(x))),
        Dtype::I8 => map(bytes, |[x]| f32::from(x as i8)),
        Dtype::U64 => map(bytes, |x| u64::from_le_bytes(x) as f32),
        Dtype::U32 => map(bytes, |x| u32::from_le_bytes(x) as f32),
        Dtype::U16 => map(bytes, |x| f32::from(u16::from_le_bytes(x))),
        Dtype::U8 => map(bytes, |[x]| f32::from(x)),
        Dtype::BOOL => map(bytes, |[x]| f32::from(u8::from(x != 0))),
        other => return Err(format!("its elements are of type {other:?}; floats or integers are expected")),
    })
}

/// Eight bits of which four are exponent and three mantissa, without infinities.
/// Source: Micikevicius et al. 2022, arXiv:2209.05433, table 1.
fn e4m3(bits: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(bits >> 3 & 15), f32::from(bits & 7));
    let magnitude = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 8.0 * 2_f32.powi(-6),
        _ => (1.0 + mantissa / 8.0) * 2_f32.powi(exponent - 7),
    };
    if bits & 128 == 0 { magnitude } else { -magnitude }
}

/// How one tensor is made of those that another naming stores.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// As it is.
    Keep,
    /// With so many axes of length one in front.
    Unsqueeze(usize),
    /// Without so many axes of length one in front.
    Squeeze(usize),
    /// A matrix with its axes exchanged.
    Transpose,
    /// The first or the last third of the rows.
    Third(usize),
    /// Two tensors with as many zeros between them: the biases of query, key and value, where the key has none.
    AroundZeros,
    /// A token `[1, 1, width]` with the first position `[1, positions, width]` added.
    AddFirstPosition,
    /// All positions `[1, positions, width]` but the first.
    DropFirstPosition,
    /// A zero for every column of a matrix.
    ZeroForColumn,
    /// A zero for every row of a matrix.
    ZeroForRow,
    /// The rows of all, one after the other.
    Rows,
    /// `[outputs, inputs * side * side]` as `[outputs, inputs, side, side]`, for three input channels.
    Unflatten,
}

impl Change {
    /// The change that undoes this one, when a single tensor is changed without loss.
    pub(super) fn inverse(&self) -> Option<Self> {
        Some(match self {
            Self::Keep => Self::Keep,
            Self::Unsqueeze(axes) => Self::Squeeze(*axes),
            Self::Squeeze(axes) => Self::Unsqueeze(*axes),
            Self::Transpose => Self::Transpose,
            _ => return None,
        })
    }

    /// The shape that comes of tensors of these shapes; `None` when they do not suit the change.
    pub(super) fn shape(&self, from: &[&[usize]]) -> Option<Vec<usize>> {
        match (self, from) {
            (Self::Keep, [shape]) => Some(shape.to_vec()),
            (Self::Unsqueeze(axes), [shape]) => Some([&vec![1; *axes], *shape].concat()),
            (Self::Squeeze(axes), [shape]) => {
                let (ones, rest) = shape.split_at_checked(*axes)?;
                ones.iter().all(|&one| one == 1).then(|| rest.to_vec())
            }
            (Self::Transpose, [[rows, columns]]) => Some(vec![*columns, *rows]),
            (Self::Third(_), [[rows]]) => rows.is_multiple_of(3).then(|| vec![rows / 3]),
            (Self::AroundZeros, [[first], [last]]) => (first == last).then(|| vec![3 * first]),
            (Self::AddFirstPosition, [[1, 1, width], [1, positions, also]]) => {
                (width == also && *positions > 0).then(|| vec![1, 1, *width])
            }
            (Self::DropFirstPosition, [[1, positions, width]]) => Some(vec![1, positions.checked_sub(1)?, *width]),
            (Self::ZeroForColumn, [[_, columns]]) => Some(vec![*columns]),
            (Self::ZeroForRow, [[rows, _]]) => Some(vec![*rows]),
            (Self::Rows, [[_, first @ ..], ..]) => {
                let rows = from
                    .iter()
                    .map(|shape| shape.split_first().filter(|(_, rest)| *rest == first).map(|(rows, _)| rows));
                let rows: usize = rows.sum::<Option<usize>>()?;
                Some([&[rows], first].concat())
            }
            (Self::Unflatten, [[outputs, inputs]]) => {
                let side = (inputs / 3).isqrt();
                (side * side * 3 == *inputs).then(|| vec![*outputs, 3, side, side])
            }
            _ => None,
        }
    }

    /// Carries the change out.
    ///
    /// # Errors
    /// Tensors that do not suit the change, as a sentence.
    pub(super) fn apply(&self, mut from: Vec<RawTensor>) -> Result<RawTensor, String> {
        let shapes: Vec<&[usize]> = from.iter().map(|tensor| tensor.shape.as_slice()).collect();
        let shape = self.shape(&shapes).ok_or_else(|| format!("shapes {shapes:?} do not suit {self:?}"))?;
        let last = from.pop().ok_or("no tensor to change")?;
        let size = last.element_size();
        if size * last.shape.iter().product::<usize>() != last.bytes.len() {
            return Err(format!("its elements of type {:?} have no bytes of their own", last.dtype));
        }
        let bytes = match self {
            Self::Keep | Self::Unsqueeze(_) | Self::Squeeze(_) | Self::Unflatten => last.bytes,
            Self::Transpose => transpose(&last.bytes, last.shape[0], last.shape[1], size),
            Self::Third(index) => last.bytes[index * shape[0] * size..][..shape[0] * size].to_vec(),
            Self::AroundZeros => {
                let first = from.pop().ok_or("one tensor is missing")?;
                if first.dtype != last.dtype {
                    return Err(format!("element types {:?} and {:?} differ", first.dtype, last.dtype));
                }
                [first.bytes, vec![0; last.bytes.len()], last.bytes].concat()
            }
            Self::AddFirstPosition => {
                let token = from.pop().ok_or("one tensor is missing")?.into_entry()?;
                let positions = last.into_entry()?;
                let sum: Vec<f32> = token.values.iter().zip(&positions.values).map(|(a, b)| a + b).collect();
                return Ok(RawTensor::from_floats(shape, &sum));
            }
            // All bits zero is zero in every element type.
            Self::ZeroForColumn | Self::ZeroForRow => vec![0; shape[0] * size],
            Self::Rows => {
                if let Some(other) = from.iter().find(|tensor| tensor.dtype != last.dtype) {
                    return Err(format!("element types {:?} and {:?} differ", other.dtype, last.dtype));
                }
                from.iter().chain([&last]).flat_map(|tensor| tensor.bytes.iter().copied()).collect()
            }
            Self::DropFirstPosition => last.bytes[shape[2] * size..].to_vec(),
        };
        Ok(RawTensor { dtype: last.dtype, shape, bytes })
    }
}

fn transpose(bytes: &[u8], rows: usize, columns: usize, size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        for row in 0..rows {
            out.extend_from_slice(&bytes[(row * columns + column) * size..][..size]);
        }
    }
    out
}
