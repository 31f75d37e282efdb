//! Recorded random draws in NumPy's `.npz`, as arguments of a replay.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use npyz::npz::{NpzArchive, array_name_from_file_name, file_name_from_array_name};
use npyz::{DType, TypeChar};
use robustify_augment::{Severity, Trace};
use robustify_data::{npy, place};
use robustify_watch::shown;

/// The draws of one severity: the arrays whose names begin with `s<severity>_`, if there are such, else all arrays. They
/// are taken in the order of the number behind that (`s3_0_normal`, `s3_1_uniform`) or, without numbers, of the file. Arrays
/// named `…out` or `…seed` are no draws.
pub fn read(path: &Path, severity: Severity) -> anyhow::Result<Trace> {
    let file = place::open(path)?;
    let archive = NpzArchive::new(BufReader::new(file));
    let mut archive = archive.with_context(|| format!("{}: is no .npz archive", shown(path)))?;
    // `array_names` gives them in an order that changes from run to run.
    let zip = archive.zip_archive();
    let files = (0..zip.len()).map(|index| Ok(zip.by_index_raw(index)?.name().to_owned()));
    let files: Vec<String> =
        files.collect::<io::Result<_>>().with_context(|| format!("{}: is no .npz archive", shown(path)))?;
    let names: Vec<String> =
        files.iter().filter_map(|file| array_name_from_file_name(file)).map(str::to_owned).collect();
    let head = format!("s{severity}_");
    let by_severity = (1..=5).any(|level| names.iter().any(|name| name.starts_with(&format!("s{level}_"))));
    let mut wanted: Vec<(usize, &String)> = names
        .iter()
        .filter(|name| !by_severity || name.starts_with(&head))
        .filter(|name| !name.ends_with("out") && !name.ends_with("seed"))
        .map(|name| (number(if by_severity { &name[head.len()..] } else { name }), name))
        .collect();
    wanted.sort_by_key(|(number, _)| *number);
    if wanted.is_empty() {
        let mut names = names;
        names.sort();
        let seed = "; a seed is no record of draws: record the arrays that it gave";
        let hint = if names.iter().any(|name| name.ends_with("seed")) { seed } else { "" };
        bail!("{}: no draws for severity {severity}; its arrays are {}{hint}", shown(path), names.join(", "));
    }
    let mut arrays = Vec::with_capacity(wanted.len());
    for (_, name) in wanted {
        let values = array(&mut archive, name).with_context(|| format!("{}: array `{name}`", shown(path)))?;
        arrays.push((name.clone(), values));
    }
    Ok(Trace::new(arrays))
}

/// The number at the beginning of the name or after its first underscore.
fn number(name: &str) -> usize {
    let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    name.split('_').find_map(digits).unwrap_or(0)
}

/// Most bytes of an array: four draws of 64 bits for every sample of a picture of 3,300 x 3,300 pixels.
const MOST_BYTES: u64 = 1 << 30;

fn array(archive: &mut NpzArchive<BufReader<File>>, name: &str) -> anyhow::Result<Vec<f64>> {
    let mut entry = archive.zip_archive().by_name(&file_name_from_array_name(name))?;
    let (bytes, (_, count)) = (entry.size(), npy::header(&mut entry).map_err(anyhow::Error::msg)?);
    ensure!(
        bytes <= MOST_BYTES && count as u64 <= bytes,
        "{count} numbers in {bytes} bytes, of which at most {MOST_BYTES} are read"
    );
    drop(entry);
    let array = archive.by_name(name)?.context("is missing")?;
    ensure!(array.order() == npyz::Order::C, "C order is expected");
    let DType::Plain(kind) = array.dtype() else { bail!("plain numbers are expected") };
    let wide = |values: Vec<i64>| values.into_iter().map(|value| value as f64).collect();
    Ok(match (kind.type_char(), kind.size_field()) {
        (TypeChar::Float, 8) => array.into_vec::<f64>()?,
        (TypeChar::Float, 4) => array.into_vec::<f32>()?.into_iter().map(f64::from).collect(),
        (TypeChar::Int, 8) => wide(array.into_vec::<i64>()?),
        (TypeChar::Int, 4) => array.into_vec::<i32>()?.into_iter().map(f64::from).collect(),
        (TypeChar::Int, 1) => array.into_vec::<i8>()?.into_iter().map(f64::from).collect(),
        (TypeChar::Uint, 1) => array.into_vec::<u8>()?.into_iter().map(f64::from).collect(),
        (TypeChar::Bool, 1) => array.into_vec::<bool>()?.into_iter().map(|value| f64::from(u8::from(value))).collect(),
        _ => bail!("numbers of type {} are not read; f4, f8, i1, i4, i8, u1 and bool are", kind),
    })
}
