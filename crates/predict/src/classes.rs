//! Which of a model's classes are those of the data: by their names, where the model's are known.

use std::collections::{HashMap, HashSet};

/// The classes of a model, in the order of its logits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownClasses {
    /// Each by all the names that it has.
    pub names: Vec<Vec<String>>,
    /// Where they are named, for messages.
    pub from: String,
}

impl KnownClasses {
    /// Classes with one name each.
    pub fn new(names: &[String], from: impl Into<String>) -> Self {
        Self { names: names.iter().map(|name| vec![name.clone()]).collect(), from: from.into() }
    }

    /// For each of the data's classes, the index of the model's class of that name; none for those that the model does not have,
    /// or has twice. Upper case, spaces, `_` and `-` make no difference unless the exact names do.
    pub fn places(&self, wanted: &[String]) -> Vec<Option<usize>> {
        let exact = index(&self.names, str::to_owned);
        let alike = index(&self.names, plain);
        let place = |name: &String| exact.get(name).or_else(|| alike.get(&plain(name))).copied().flatten();
        wanted.iter().map(place).collect()
    }

    /// Where the data's classes are among the model's, if it has them all, each once.
    ///
    /// # Errors
    /// The names of the data that it does not have.
    pub fn all_places(&self, wanted: &[String]) -> Result<Vec<usize>, Vec<String>> {
        let found = self.places(wanted);
        let is_exact = |name: &String, place: usize| self.names[place].contains(name);
        let pairs = || wanted.iter().zip(&found);
        let exact: HashSet<usize> =
            pairs().filter_map(|(name, place)| place.filter(|&place| is_exact(name, place))).collect();
        let mut taken = HashSet::new();
        let (mut places, mut unknown) = (Vec::new(), Vec::new());
        for (name, place) in pairs() {
            // A name that is only alike gives way to one that is the same.
            let place = place.filter(|&place| is_exact(name, place) || !exact.contains(&place));
            match place.filter(|&place| taken.insert(place)) {
                Some(place) => places.push(place),
                None => unknown.push(name.clone()),
            }
        }
        if unknown.is_empty() { Ok(places) } else { Err(unknown) }
    }
}

/// Classes by their names after `change`; a name that two classes have leads to none.
fn index(names: &[Vec<String>], change: impl Fn(&str) -> String) -> HashMap<String, Option<usize>> {
    let mut index: HashMap<String, Option<usize>> = HashMap::new();
    for (class, names) in names.iter().enumerate() {
        for name in names {
            let place = index.entry(change(name)).or_insert(Some(class));
            if *place != Some(class) {
                *place = None;
            }
        }
    }
    index
}

/// A name without what people write differently.
fn plain(name: &str) -> String {
    let words = name.split(|c: char| c.is_whitespace() || c == '_' || c == '-').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Names of classes for a message, which a thousand of them would drown.
pub fn list(classes: &[String]) -> String {
    let shown: Vec<&str> = classes.iter().take(12).map(String::as_str).collect();
    let more = classes.len() - shown.len();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// How a pre-trained classifier is used for the data's classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// As it is; the sentence says why.
    Whole(String),
    /// These of its classes, in this order; the sentence says why.
    Chosen(Vec<usize>, String),
    /// Not at all: the data has other classes, as the sentence says.
    Probe(String),
}

/// How a classifier of `count` classes, whose names may be known, is used for data with the classes `wanted`.
///
/// # Errors
/// As many names as the classifier does not have.
pub fn usage(count: usize, known: Option<&KnownClasses>, wanted: &[String]) -> Result<Use, String> {
    let classes = wanted.len();
    if count == 0 {
        return Ok(Use::Probe("the weights have no classifier".into()));
    }
    let Some(known) = known else {
        return Ok(if count == classes {
            Use::Whole(format!(
                "nothing names the {count} classes of the weights, so they are taken in the order of the data's: {}; if they have \
                 another, original.classes names it",
                list(wanted)
            ))
        } else {
            Use::Probe(format!("the weights have {count} classes, which nothing names, and the data has {classes}"))
        });
    };
    let from = &known.from;
    if known.names.len() != count {
        return Err(format!(
            "{from} names {} classes, and the classifier of the weights has {count}",
            known.names.len()
        ));
    }
    Ok(match known.all_places(wanted) {
        Ok(places) if places.len() == count && places.iter().copied().eq(0..count) => {
            Use::Whole(format!("the {count} classes of the weights are the data's, in the same order, by {from}"))
        }
        Ok(places) => {
            let text = format!(
                "{classes} of the weights' {count} classes are the data's by name, in the order of the data ({from})"
            );
            Use::Chosen(places, text)
        }
        Err(unknown) => Use::Probe(format!(
            "{} of the data's {classes} classes are not among the {count} of the weights by name ({from}): {}",
            unknown.len(),
            list(&unknown)
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn classes_are_matched_by_name_and_only_then_by_number() {
        let known = KnownClasses::new(&owned(&["dog", "Ankle boot", "cat", "Dog"]), "original.classes");
        // An exact name wins over one that is alike; a name that is alike to two is nobody's.
        assert_eq!(known.places(&owned(&["cat", "Dog", "ankle_boot", "DOG"])), [Some(2), Some(3), Some(1), None]);
        let choose = |wanted: &[&str]| usage(4, Some(&known), &owned(wanted)).unwrap();
        assert!(matches!(choose(&["dog", "Ankle boot", "cat", "Dog"]), Use::Whole(_)));
        assert!(matches!(choose(&["cat", "dog"]), Use::Chosen(places, _) if places == [2, 0]));
        let Use::Probe(why) = choose(&["cat", "mouse"]) else { panic!("a mouse is none of them") };
        assert!(why.contains("mouse") && why.contains("original.classes"), "{why}");
        // Two folders that would be one class are not taken for it.
        assert!(matches!(choose(&["CAT", "cat"]), Use::Probe(why) if why.contains("CAT")));
        assert!(usage(3, Some(&known), &owned(&["cat"])).is_err());
        assert!(matches!(usage(2, None, &owned(&["a", "b"])).unwrap(), Use::Whole(why) if why.contains("order")));
        assert!(matches!(usage(3, None, &owned(&["a", "b"])).unwrap(), Use::Probe(_)));
    }
}
