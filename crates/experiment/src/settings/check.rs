//! What of a configuration cannot be read: unknown keys, values of the wrong kind, settings that are missing, all at once.

use toml::{Table, Value};

use crate::reference::{Key, Kind, Reference, Variant, nearest};

/// All faults, each beginning with its key.
pub(super) fn faults(reference: &Reference, table: &Table) -> Vec<String> {
    let mut faults = Vec::new();
    check_table("", reference.keys(), table, &mut faults);
    faults
}

/// What a configuration says of itself, `found`, together with what was `checked` here. Of one key it is said once: here, with the
/// nearest name, and of a whole method's table that could not be read, which key of it is at fault; but of a number that is out of
/// range by the configuration, which says why.
pub(super) fn together(found: Vec<String>, mut checked: Vec<String>) -> Vec<String> {
    let key = |fault: &str| fault.split([':', ' ', '[']).next().unwrap_or_default().to_owned();
    let is_whole_method = |key: &str| key.starts_with("method.") && key.matches('.').count() == 1;
    let of_itself: Vec<String> = found.iter().map(|fault| key(fault)).collect();
    let out_of_range = |fault: &str| fault.contains("expected a whole number") && of_itself.contains(&key(fault));
    checked.retain(|fault| !is_whole_method(&key(fault)) && !out_of_range(fault));
    let keys: Vec<String> = checked.iter().map(|fault| key(fault)).collect();
    let is_said = |fault: &String| {
        let own = key(fault);
        let inner = format!("{own}.");
        keys.iter().any(|key| *key == own || (is_whole_method(&own) && key.starts_with(&inner)))
    };
    found.into_iter().filter(|fault| !is_said(fault)).chain(checked.iter().cloned()).collect()
}

fn check_table(path: &str, keys: &[Key], table: &Table, faults: &mut Vec<String>) {
    let under = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for (name, value) in table {
        match keys.iter().find(|key| key.name == *name) {
            Some(key) => check(&under(name), &key.kind, value, faults),
            None => faults.push(format!("{}: {}", under(name), unknown(path, keys, name))),
        }
    }
    for key in keys.iter().filter(|key| key.required && !table.contains_key(&key.name)) {
        faults.push(format!("{}: missing, expected {}", under(&key.name), key.kind.words()));
    }
}

fn unknown(path: &str, keys: &[Key], name: &str) -> String {
    let names = keys.iter().map(|key| key.name.as_str());
    if let Some(near) = nearest(name, names.clone()) {
        let near = if path.is_empty() { near.to_owned() } else { format!("{path}.{near}") };
        return format!("no such setting; did you mean {near}?");
    }
    let known = names.collect::<Vec<_>>().join(", ");
    match path {
        _ if keys.is_empty() => format!("no such setting; {path} has none"),
        "" => format!("no such setting; known are {known}"),
        path => format!("no such setting; known in {path} are {known}"),
    }
}

fn check(path: &str, kind: &Kind, value: &Value, faults: &mut Vec<String>) {
    let fits = match (kind, value) {
        (Kind::Table(keys), Value::Table(table)) => return check_table(path, keys, table, faults),
        (Kind::Tables(variants), Value::Table(table)) => return check_forms(path, variants, table, faults),
        (Kind::List { of, length }, Value::Array(values)) => {
            if length.is_none_or(|length| length == values.len() as u64) {
                for (index, value) in values.iter().enumerate() {
                    check(&format!("{path}[{index}]"), of, value, faults);
                }
                return;
            }
            false
        }
        (Kind::Text, Value::String(_)) | (Kind::Flag, Value::Boolean(_)) | (Kind::Free, Value::Table(_)) => true,
        (Kind::Choice(choices), Value::String(text)) => {
            if choices.iter().any(|choice| choice.name == *text || choice.also.contains(text)) {
                return;
            }
            let names = || choices.iter().map(|choice| choice.name.as_str());
            let expected = one_of(&names().collect::<Vec<_>>());
            return faults.push(match nearest(text, names()) {
                Some(near) => format!("{path}: found {value}, did you mean {near}? Expected {expected}"),
                None => format!("{path}: found {value}, expected {expected}"),
            });
        }
        (Kind::Whole { least, most }, Value::Integer(number)) => {
            least.is_none_or(|least| *number >= least) && most.is_none_or(|most| *number <= most)
        }
        (Kind::Number, Value::Float(_) | Value::Integer(_)) => true,
        _ => false,
    };
    if !fits {
        faults.push(format!("{path}: found {value}, expected {}", kind.words()));
    }
}

fn one_of(names: &[&str]) -> String {
    match names {
        [one] => (*one).to_owned(),
        several => format!("one of {}", several.join(", ")),
    }
}

/// The form that a table has is the one whose own words it uses: `architecture`, or `model`.
fn check_forms(path: &str, variants: &[Variant], table: &Table, faults: &mut Vec<String>) {
    let tag = |variant: &Variant| {
        let fixed = |key: &Key| match &key.kind {
            Kind::Choice(choices) if choices.len() == 1 => Some((key.name.clone(), choices[0].name.clone())),
            _ => None,
        };
        variant.keys.iter().find_map(fixed)
    };
    let chosen = variants.iter().find(|variant| match tag(variant) {
        Some((key, name)) => table.get(&key).and_then(Value::as_str) == Some(&name),
        None => variant.keys.iter().any(|key| key.required && table.contains_key(&key.name)),
    });
    if let Some(variant) = chosen {
        return check_table(path, &variant.keys, table, faults);
    }
    let tags: Vec<(String, String)> = variants.iter().filter_map(tag).collect();
    let Some((key, _)) = tags.first() else { return };
    let names: Vec<&str> = tags.iter().map(|(_, name)| name.as_str()).collect();
    let found = table.get(key).map_or("missing".to_owned(), |value| format!("found {value}"));
    faults
        .push(format!("{path}.{key}: {found}, expected {}; or {path}.model, a name of `models list`", one_of(&names)));
}

/// What `toml` says, without the names of Rust's types, the key first.
pub(super) fn sentence(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let (said, key) = match text.trim_end().rsplit_once("\nin `") {
        Some((said, key)) => (said, key.trim_end_matches('`')),
        None => (text.trim_end(), ""),
    };
    if key.is_empty() { said.to_owned() } else { format!("{key}: {said}") }
}

#[cfg(test)]
mod tests {
    use robustify_methods::Config;

    use super::*;

    #[test]
    fn every_fault_has_its_key_what_was_found_and_what_is_expected() {
        let text = r#"
            name = 3
            [tuning]
            epoch = 3
            epochs = "ten"
            head_weights = [1.0]
            [select]
            passes = 1.5
            rule = { rule = "klx" }
            [original.network]
            architecture = "resnett"
            [wibble]
        "#;
        let found = faults(&Reference::of::<Config>(), &text.parse().unwrap()).join("\n");
        for said in [
            "name: found 3, expected text",
            "tuning.epoch: no such setting; did you mean tuning.epochs?",
            "tuning.epochs: found \"ten\", expected a whole number from 1 to 100000",
            "tuning.head_weights: found [1.0], expected a list of 3, each a number",
            "tuning.seed: missing, expected a whole number from 0 up",
            "select.passes: found 1.5, expected a whole number from 1 to 10000",
            "select.rule.rule: found \"klx\", did you mean kl? Expected one of product, kl,",
            "original.network.architecture: found \"resnett\", expected one of vit, resnet, swin, clip_resnet",
            "wibble: no such setting; known are ",
        ] {
            assert!(found.contains(said), "{said}\n{found}");
        }
    }
}
