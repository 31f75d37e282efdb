//! Choosing parts of a data set by keyed rank: the choice depends on the key and on each image's identity, not on the order.

use std::collections::HashSet;
use std::path::Path;

use robustify_rng::Key;

use crate::error::{DataError, Result};
use crate::place;
use crate::set::ImageSet;

/// The indices of `per_class` images of every class, in ascending order.
///
/// A larger `per_class` under the same key extends a smaller one.
///
/// # Errors
/// [`DataError::Argument`] when a class has fewer images.
pub fn balanced(set: &dyn ImageSet, per_class: usize, key: Key) -> Result<Vec<usize>> {
    let mut members = vec![Vec::new(); set.classes().len()];
    for (index, &label) in set.labels().iter().enumerate() {
        members[label].push((key.with(set.id(index)?).digest(), index));
    }
    let mut chosen = Vec::with_capacity(per_class * members.len());
    for (mut ranked, name) in members.into_iter().zip(set.classes()) {
        if ranked.len() < per_class {
            return Err(DataError::Argument {
                name: "images per class",
                expected: format!("at most {}, the images of class `{name}` of {}", ranked.len(), set.name()),
                found: per_class.to_string(),
            });
        }
        ranked.sort_unstable();
        chosen.extend(ranked.iter().take(per_class).map(|&(_, index)| index));
    }
    chosen.sort_unstable();
    Ok(chosen)
}

/// The indices of `count` images of any class, in ascending order.
///
/// # Errors
/// [`DataError::Argument`] when there are fewer.
pub fn sample(set: &dyn ImageSet, count: usize, key: Key) -> Result<Vec<usize>> {
    let ids = (0..set.len()).map(|index| set.id(index)).collect::<Result<Vec<_>>>()?;
    if count > ids.len() {
        let expected = format!("at most {}, the images of {}", ids.len(), set.name());
        return Err(DataError::Argument { name: "number of images", expected, found: count.to_string() });
    }
    Ok(sample_of(&ids, count, key))
}

/// The same of images that are known by their identities; all of them if there are fewer.
pub fn sample_of(ids: &[u64], count: usize, key: Key) -> Vec<usize> {
    let mut ranked: Vec<(u64, usize)> =
        ids.iter().enumerate().map(|(index, &id)| (key.with(id).digest(), index)).collect();
    ranked.sort_unstable();
    let mut chosen: Vec<usize> = ranked.iter().take(count).map(|&(_, index)| index).collect();
    chosen.sort_unstable();
    chosen
}

/// All of `0..len` that is not in `left_out`, in ascending order.
///
/// # Errors
/// [`DataError::Argument`] when `left_out` names an index past the end, which shows that it belongs to another set.
pub fn except(len: usize, left_out: &[usize]) -> Result<Vec<usize>> {
    if let Some(past) = left_out.iter().find(|&&index| index >= len) {
        let expected = format!("indices below {len}");
        return Err(DataError::Argument { name: "indices left out", expected, found: past.to_string() });
    }
    let left_out: HashSet<usize> = left_out.iter().copied().collect();
    Ok((0..len).filter(|index| !left_out.contains(index)).collect())
}

/// Reads a file of indices, one a line.
///
/// # Errors
/// [`DataError::Io`], or [`DataError::Format`] with the line that is no index.
pub fn read_indices(path: &Path) -> Result<Vec<usize>> {
    let text = place::read_text(path)?;
    let parse = |(number, line): (usize, &str)| {
        line.trim().parse().map_err(|_| DataError::Format {
            path: path.to_owned(),
            what: "list of indices",
            expected: "one whole number a line".to_owned(),
            found: format!("`{line}` in line {}", number + 1),
            remedy: "correct the line",
        })
    };
    text.lines().enumerate().map(parse).collect()
}
