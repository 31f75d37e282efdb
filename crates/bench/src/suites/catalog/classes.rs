//! The classes of published data sets, and which of a model's they are.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use crate::{ClassMap, ClassMapError};

/// The classes of a data set.
#[derive(Clone, Copy, Debug)]
pub enum Classes {
    /// ImageNet's 1,000.
    ImageNet,
    /// Some of them, by their numbers in ascending order: logits of the others are left out.
    Subset(&'static [u16]),
    /// ObjectNet's 113 that stand for one or more of ImageNet's each: of these the largest logit counts.
    ObjectNet,
    /// Their names, in the order of the labels.
    Named(&'static [&'static str]),
    /// As the data names them.
    Own,
}

/// A class of ImageNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageNetClass {
    /// Its id in WordNet, as folders are called.
    pub wnid: &'static str,
    /// A name that fits into a prompt.
    pub name: &'static str,
    /// All names of its synset, with commas.
    pub lemmas: &'static str,
}

/// ImageNet's classes by their numbers, 0 to 999.
pub fn imagenet() -> &'static [ImageNetClass] {
    static TABLE: OnceLock<Vec<ImageNetClass>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let rows = rows(include_str!("imagenet.tsv")).into_iter();
        rows.map(|[wnid, name, lemmas]| ImageNetClass { wnid, name, lemmas }).collect()
    })
}

/// A class of ObjectNet that stands for some of ImageNet's.
struct ObjectNetClass {
    folder: &'static str,
    name: &'static str,
    numbers: Vec<usize>,
}

fn objectnet() -> &'static [ObjectNetClass] {
    static TABLE: OnceLock<Vec<ObjectNetClass>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let class = |[folder, name, numbers]: [&'static str; 3]| {
            let numbers = numbers.split(' ').filter_map(|number| number.parse().ok()).collect();
            ObjectNetClass { folder, name, numbers }
        };
        rows(include_str!("objectnet.tsv")).into_iter().map(class).collect()
    })
}

/// The rows of a table with three columns.
fn rows(text: &'static str) -> Vec<[&'static str; 3]> {
    let row = |line: &'static str| {
        let mut fields = line.split('\t');
        [(); 3].map(|()| fields.next().unwrap_or_default())
    };
    text.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

impl Classes {
    /// Names of the classes in the order of the labels; none if the data says them. No two are alike.
    pub fn names(&self) -> Option<Vec<String>> {
        let of = |numbers: &mut dyn Iterator<Item = usize>| {
            let classes: Vec<&ImageNetClass> = numbers.map(|number| &imagenet()[number]).collect();
            let names = classes.iter().map(|class| class.name.to_owned()).collect();
            distinct(names, &classes.iter().map(|class| class.wnid.to_owned()).collect::<Vec<_>>())
        };
        match self {
            Self::ImageNet => Some(of(&mut (0..imagenet().len()))),
            Self::Subset(numbers) => Some(of(&mut numbers.iter().map(|&number| usize::from(number)))),
            Self::ObjectNet => Some(objectnet().iter().map(|class| class.name.to_owned()).collect()),
            Self::Named(names) => Some(names.iter().map(|&name| name.to_owned()).collect()),
            Self::Own => None,
        }
    }

    /// For every class, ImageNet's that it stands for; none of data sets of other classes.
    fn in_imagenet(&self) -> Option<Vec<Vec<usize>>> {
        match self {
            Self::ImageNet => Some((0..imagenet().len()).map(|number| vec![number]).collect()),
            Self::Subset(numbers) => Some(numbers.iter().map(|&number| vec![usize::from(number)]).collect()),
            Self::ObjectNet => Some(objectnet().iter().map(|class| class.numbers.clone()).collect()),
            Self::Named(_) | Self::Own => None,
        }
    }

    /// The folders of the classes in the order of the labels, of `folders` that there are; none if no class is recognised. ImageNet's are
    /// called by WordNet id, or all by number, or by name. A class without a folder stands under the name that it would have.
    pub fn folders(&self, folders: &[String]) -> Option<Vec<String>> {
        let there: BTreeSet<&str> = folders.iter().map(String::as_str).collect();
        let ids: Vec<&str> = match self {
            Self::ImageNet => imagenet().iter().map(|class| class.wnid).collect(),
            Self::Subset(numbers) => numbers.iter().map(|&number| imagenet()[usize::from(number)].wnid).collect(),
            Self::ObjectNet => objectnet().iter().map(|class| class.folder).collect(),
            Self::Named(names) => names.to_vec(),
            Self::Own => return None,
        };
        if ids.iter().any(|id| there.contains(id)) {
            return Some(ids.into_iter().map(str::to_owned).collect());
        }
        // A number may be that of a class among ImageNet's or among the suite's own where these are not the same.
        let numbered = matches!(self, Self::ImageNet | Self::Named(_));
        if numbered && !folders.is_empty() && folders.iter().all(|folder| folder.parse::<usize>().is_ok()) {
            let by_value: HashMap<usize, &String> =
                folders.iter().filter_map(|folder| Some((folder.parse().ok()?, folder))).collect();
            // Sorted as texts, `10` would come before `2`.
            let folder =
                |label: usize| by_value.get(&label).map_or_else(|| label.to_string(), |&folder| folder.clone());
            return by_value.keys().all(|&value| value < ids.len()).then(|| (0..ids.len()).map(folder).collect());
        }
        let by_name: HashMap<String, &String> = folders.iter().map(|folder| (plain(folder), folder)).collect();
        let names = self.names()?;
        let found: Vec<Option<&&String>> = names.iter().map(|name| by_name.get(&plain(name))).collect();
        if found.iter().all(Option::is_none) {
            return None;
        }
        Some(
            found
                .into_iter()
                .zip(ids)
                .map(|(folder, id)| folder.map_or(id.to_owned(), |&folder| folder.clone()))
                .collect(),
        )
    }

    /// How the classes of a model answer for these, whose names are `own`. A model of the same classes does as it is. ImageNet's are known by
    /// WordNet id, by OpenAI's or WordNet's names, or, where a model has a thousand and no names, by their order.
    ///
    /// # Errors
    /// A class that the model does not have, or classes that are not recognised.
    pub fn map(&self, own: &[String], model: &[String]) -> Result<ClassMap, ClassMapError> {
        if own == model {
            return ClassMap::same(own, model);
        }
        let Some(groups) = self.in_imagenet() else { return by_name(own, model) };
        let places = imagenet_places(model)?;
        let group = |(label, numbers): (usize, &Vec<usize>)| -> Result<Vec<usize>, ClassMapError> {
            let place = |&number: &usize| {
                let lacking = || {
                    let ImageNetClass { wnid, name, .. } = imagenet()[number];
                    let own = own.get(label).map_or(name, String::as_str);
                    let (least, many) = (format!("the model has no class `{name}` ({wnid})"), model.len());
                    ClassMapError::Unlike(format!(
                        "{least} among its {many}, which class {label} of the data, `{own}`, needs"
                    ))
                };
                places[number].ok_or_else(lacking)
            };
            numbers.iter().map(place).collect()
        };
        ClassMap::groups(groups.iter().enumerate().map(group).collect::<Result<_, _>>()?)
    }
}

/// The place of each of ImageNet's classes among a model's.
fn imagenet_places(model: &[String]) -> Result<Vec<Option<usize>>, ClassMapError> {
    let table = imagenet();
    let is_wnid = |name: &String| {
        name.len() == 9 && name.starts_with('n') && name[1..].bytes().all(|digit| digit.is_ascii_digit())
    };
    let mut by_id = vec![None; table.len()];
    if !model.is_empty() && model.iter().all(is_wnid) {
        let known: HashMap<&str, usize> =
            table.iter().enumerate().map(|(number, class)| (class.wnid, number)).collect();
        for (place, wnid) in model.iter().enumerate() {
            if let Some(&number) = known.get(wnid.as_str())
                && by_id[number].replace(place).is_some()
            {
                return Err(ClassMapError::Unlike(format!("the model has class {wnid} twice")));
            }
        }
        return Ok(by_id);
    }
    if are_unnamed(model) {
        let count = model.len();
        return match count == table.len() {
            true => Ok((0..count).map(Some).collect()),
            false => Err(ClassMapError::Unlike(format!(
                "the model's {count} classes have no names, and a model without names is taken to be in ImageNet's order only if it has \
                 1,000 of them; give it its class names"
            ))),
        };
    }
    let alike = |(class, name): (&ImageNetClass, &String)| {
        [class.name, class.lemmas, first_lemma(class)].iter().any(|known| plain(known) == plain(name))
    };
    // Programs write a few names otherwise; where nearly all stand at their place, so do these.
    let matching = table.iter().zip(model).filter(|&pair| alike(pair)).count();
    if model.len() == table.len() && 20 * matching >= 19 * table.len() {
        return Ok((0..table.len()).map(Some).collect());
    }
    // One list of names at a time: `cardigan` is a jacket in OpenAI's and a dog in WordNet's.
    let lists: [fn(&ImageNetClass) -> &str; 3] = [|class| class.name, |class| class.lemmas, first_lemma];
    let found = lists.map(|name| matched(model, name));
    let count = |places: &Vec<Option<usize>>| places.iter().flatten().count();
    let [mut places, ..] = found.clone();
    for other in found {
        if count(&other) > count(&places) {
            places = other;
        }
    }
    if places.iter().all(Option::is_none) {
        let first: Vec<String> = model.iter().take(3).map(|name| format!("`{name}`")).collect();
        return Err(ClassMapError::Unlike(format!(
            "none of the model's {} classes ({}, …) is one of ImageNet's, by WordNet id or by name",
            model.len(),
            first.join(", ")
        )));
    }
    Ok(places)
}

fn first_lemma(class: &ImageNetClass) -> &str {
    class.lemmas.split(',').next().unwrap_or_default()
}

/// The places of ImageNet's classes among a model's names of one kind. A name that two classes share is none of either, but with its
/// WordNet id in brackets.
fn matched(model: &[String], name: fn(&ImageNetClass) -> &str) -> Vec<Option<usize>> {
    let mut known: HashMap<String, Option<usize>> = HashMap::new();
    for (number, class) in imagenet().iter().enumerate() {
        known.entry(plain(name(class))).and_modify(|other| *other = None).or_insert(Some(number));
        known.insert(plain(&format!("{} ({})", name(class), class.wnid)), Some(number));
    }
    let mut places = vec![None; imagenet().len()];
    for (place, name) in model.iter().enumerate() {
        if let Some(&Some(number)) = known.get(&plain(name)) {
            places[number].get_or_insert(place);
        }
    }
    places
}

/// Whether names are nothing but numbers in order: `3`, `class 3`, `LABEL_3`, or nothing at all.
fn are_unnamed(names: &[String]) -> bool {
    names.iter().enumerate().all(|(place, name)| {
        let number = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        let before = plain(&name[..name.len() - number.len()]);
        name.trim().is_empty() || ["", "class", "label"].contains(&before.as_str()) && number.parse() == Ok(place)
    })
}

/// Classes that are not ImageNet's: by name, whatever the order; of a model without names in the data's order.
fn by_name(own: &[String], model: &[String]) -> Result<ClassMap, ClassMapError> {
    if own.len() == model.len() && are_unnamed(model) {
        return Ok(ClassMap::subset((0..own.len()).collect()));
    }
    let places: HashMap<String, usize> = model.iter().enumerate().map(|(place, name)| (plain(name), place)).collect();
    let found: Option<Vec<Vec<usize>>> =
        own.iter().map(|name| places.get(&plain(name)).map(|&place| vec![place])).collect();
    match found {
        Some(groups) if places.len() == model.len() => ClassMap::groups(groups),
        _ => ClassMap::same(own, model),
    }
}

/// A name without case and punctuation.
pub(super) fn plain(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The same names, those that occur twice with what tells them apart in brackets.
pub(super) fn distinct(names: Vec<String>, apart: &[String]) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    names.iter().for_each(|name| *counts.entry(name.clone()).or_default() += 1);
    let tell = |(name, apart): (String, &String)| if counts[&name] > 1 { format!("{name} ({apart})") } else { name };
    names.into_iter().zip(apart).map(tell).collect()
}
