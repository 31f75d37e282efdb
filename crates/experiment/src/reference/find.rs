//! Finding settings: a section of the reference, what a wrong name was meant to be, and what an option is called here.

use anyhow::{Result, bail};

use super::{Key, Kind, Reference};
use crate::wrap::wrapped;

/// Short names that other programs use for the last part of a key.
const ALSO: [(&str, &str); 5] = [
    ("lr", "learning_rate"),
    ("wd", "weight_decay"),
    ("bs", "batch_size"),
    ("num_classes", "classes"),
    ("img_size", "image_size"),
];

/// How alike two names must be, from 0 to 1, for one to be suggested for the other.
const ALIKE: f64 = 0.84;

/// What is shown of a reference: keys with their paths.
pub(super) struct Chosen<'a> {
    /// The path of the table that the keys are in; empty for the whole.
    pub path: String,
    /// What the section is.
    pub about: &'a str,
    /// Its keys, or that of its forms.
    pub kind: Part<'a>,
}

/// Keys, or forms of a table.
pub(super) enum Part<'a> {
    /// Keys of a table.
    Keys(&'a [Key]),
    /// One key that is no table.
    Key(&'a Key),
    /// A table of one of several forms.
    Forms(&'a Key),
}

impl Reference {
    /// What a path leads to; everything without one.
    pub(super) fn chosen(&self, section: Option<&str>) -> Result<Chosen<'_>> {
        let Some(path) = section else {
            return Ok(Chosen { path: String::new(), about: "", kind: Part::Keys(&self.keys) });
        };
        let Some(key) = self.key(path) else { bail!("{}", self.no_section(path)) };
        let (table, _) = path.rsplit_once('.').unwrap_or_default();
        Ok(match &key.kind {
            Kind::Table(keys) => Chosen { path: path.to_owned(), about: &key.about, kind: Part::Keys(keys) },
            Kind::Tables(_) => Chosen { path: path.to_owned(), about: &key.about, kind: Part::Forms(key) },
            _ => Chosen { path: table.to_owned(), about: "", kind: Part::Key(key) },
        })
    }

    /// The setting or table of a path such as `tuning.epochs`.
    #[must_use]
    pub fn key(&self, path: &str) -> Option<&Key> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let mut found = self.keys.iter().find(|key| key.name == first)?;
        for part in rest.iter().flat_map(|rest| rest.split('.')) {
            found = found.kind.keys().into_iter().find(|key| key.name == part)?;
        }
        Some(found)
    }

    /// Paths of all settings and tables, with the keys of every form of a table.
    #[must_use]
    pub fn paths(&self) -> Vec<(String, &Key)> {
        let mut open: Vec<(String, &Key)> = self.keys.iter().rev().map(|key| (key.name.clone(), key)).collect();
        let mut paths = Vec::new();
        while let Some((path, key)) = open.pop() {
            let below = key.kind.keys().into_iter().rev();
            open.extend(below.map(|below| (format!("{path}.{}", below.name), below)));
            paths.push((path, key));
        }
        paths
    }

    fn no_section(&self, asked: &str) -> String {
        let all = self.paths();
        let table = |key: &Key| matches!(key.kind, Kind::Table(_) | Kind::Tables(_));
        let sections: Vec<&str> = all.iter().filter(|(_, key)| table(key)).map(|(path, _)| path.as_str()).collect();
        let known = format!("sections are\n{}", wrapped(&sections.join(", "), "  ", 100).trim_end());
        let near = nearest(asked, sections.iter().copied()).map(str::to_owned);
        let near = near.or_else(|| self.named(asked).into_iter().next());
        match near {
            Some(near) => format!("there is no section or setting `{asked}`; did you mean `{near}`?\n{known}"),
            None => format!("there is no section or setting `{asked}`; {known}"),
        }
    }

    /// Paths of the settings that a name may mean, as people know it from other programs: a whole path, or its last part, with
    /// dashes for underscores; the nearest ones if there is none of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<String> {
        let name = name.trim_start_matches('-').replace('-', "_").to_lowercase();
        let all = self.paths();
        let settings = || all.iter().filter(|(_, key)| key.kind.keys().is_empty()).map(|(path, _)| path);
        let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
        let meant = ALSO.iter().find(|(short, _)| *short == name).map_or(name.as_str(), |(_, long)| long);
        let exact = |path: &&String| **path == name || last(path) == name || last(path) == meant;
        let found: Vec<String> = settings().filter(exact).cloned().collect();
        if !found.is_empty() {
            return found;
        }
        let near = if name.contains('.') {
            nearest(&name, settings().map(String::as_str)).map(str::to_owned)
        } else {
            let parts: Vec<String> = settings().map(|path| last(path)).collect();
            nearest(&name, parts.iter().map(String::as_str)).map(str::to_owned)
        };
        settings()
            .filter(|path| near.as_ref().is_some_and(|near| *path == near || last(path) == *near))
            .cloned()
            .collect()
    }
}

/// What to say of an option that the program does not have, and of the value behind it: the settings that have its name.
#[must_use]
pub fn with_value(reference: &Reference, option: &str, value: Option<&str>) -> Option<String> {
    let (option, value) = option.split_once('=').map_or((option, value), |(option, value)| (option, Some(value)));
    let settings: Vec<String> =
        reference.named(option).iter().map(|path| format!("{path}={}", value.unwrap_or("VALUE"))).collect();
    match settings.as_slice() {
        [] => None,
        [one] => Some(format!("settings are given as key=value, without dashes: did you mean {one}?")),
        several => Some(format!(
            "settings are given as key=value, without dashes; did you mean one of these?\n       {}",
            several.join("\n       ")
        )),
    }
}

/// The name that is most like another, if any is alike enough to have been meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|other| (strsim::jaro_winkler(name, other), other));
    let best = scored.fold(None, |best: Option<(f64, &str)>, next| match best {
        Some(best) if best.0 >= next.0 => Some(best),
        _ => Some(next),
    });
    best.filter(|(score, _)| *score >= ALIKE).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use robustify_methods::Config;

    use super::*;

    #[test]
    fn an_option_is_answered_with_the_settings_of_its_name() {
        let reference = Reference::of::<Config>();
        let said = |option: &str, value| with_value(&reference, option, value).unwrap_or_default();
        assert!(said("--tuning.epochs", Some("3")).ends_with("did you mean tuning.epochs=3?"));
        assert!(said("--epochs", Some("3")).ends_with("\n       tuning.epochs=3"), "{}", said("--epochs", Some("3")));
        assert!(said("--lr=1e-3", None).contains("tuning.optimizer.learning_rate=1e-3"));
        assert!(said("--batch-size", None).contains("teacher.training.batch_size=VALUE"));
        assert!(
            said("--pases", Some("30")).ends_with("did you mean select.passes=30?"),
            "{}",
            said("--pases", Some("30"))
        );
        assert_eq!(with_value(&reference, "--wibble", None), None);
    }
}
