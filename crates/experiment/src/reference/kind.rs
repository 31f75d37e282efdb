//! A schema as a tree of keys and of what their values may be.

use serde_json::{Map, Value};

/// Where a schema has the former names of a choice, which JSON Schema has no word for.
const ALSO: &str = "formerly";

/// A setting, or a table of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its name within its table.
    pub name: String,
    /// What it means.
    pub about: String,
    /// What its value may be.
    pub kind: Kind,
    /// Whether it must be given.
    pub required: bool,
    /// The value that it has where it is not given, if that does not depend on others.
    pub default: Option<Value>,
}

/// What a value may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Text.
    Text,
    /// One of several texts.
    Choice(Vec<Choice>),
    /// True or false.
    Flag,
    /// A whole number.
    Whole {
        /// The smallest.
        least: Option<i64>,
        /// The largest.
        most: Option<i64>,
    },
    /// A number.
    Number,
    /// A list.
    List {
        /// What its elements are.
        of: Box<Kind>,
        /// How many it must have.
        length: Option<u64>,
    },
    /// A table of keys that are checked elsewhere.
    Free,
    /// A table of keys.
    Table(Vec<Key>),
    /// A table of one of several forms.
    Tables(Vec<Variant>),
}

/// One of the texts that a setting may have.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The text.
    pub name: String,
    /// What it means; empty where the name says it.
    pub about: String,
    /// Former names, which are read as well.
    pub also: Vec<String>,
}

/// A form that a table may have.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// What it is.
    pub about: String,
    /// Its keys.
    pub keys: Vec<Key>,
}

impl Kind {
    /// Whether its values are texts.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text | Self::Choice(_))
    }

    /// The keys of a table; those of all its forms, each once.
    pub fn keys(&self) -> Vec<&Key> {
        match self {
            Self::Table(keys) => keys.iter().collect(),
            Self::Tables(variants) => {
                let mut all: Vec<&Key> = Vec::new();
                for key in variants.iter().flat_map(|variant| &variant.keys) {
                    if all.iter().all(|known| known.name != key.name) {
                        all.push(key);
                    }
                }
                all
            }
            _ => Vec::new(),
        }
    }

    /// What it is, in words.
    pub fn words(&self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Choice(choices) if choices.len() > 8 => "a name".into(),
            Self::Choice(choices) => {
                let names: Vec<String> = choices.iter().map(|choice| format!("\"{}\"", choice.name)).collect();
                names.join(" or ")
            }
            Self::Flag => "true or false".into(),
            Self::Whole { least: Some(least), most: Some(most) } => format!("a whole number from {least} to {most}"),
            Self::Whole { least: Some(least), .. } => format!("a whole number from {least} up"),
            Self::Whole { .. } => "a whole number".into(),
            Self::Number => "a number".into(),
            Self::List { of, length: Some(length) } => format!("a list of {length}, each {}", of.words()),
            Self::List { of, length: None } => match &**of {
                Self::Text => "a list of texts".into(),
                Self::Number => "a list of numbers".into(),
                Self::Table(_) | Self::Tables(_) => "a list of tables".into(),
                Self::Choice(choices) if choices.len() > 8 => "a list of names".into(),
                of => format!("a list, each {}", of.words()),
            },
            Self::Free | Self::Table(_) | Self::Tables(_) => "a table".into(),
        }
    }
}

/// The kind that a schema without references describes.
pub(super) fn of(schema: &Value) -> Kind {
    let forms = ["anyOf", "oneOf"].into_iter().find_map(|word| schema.get(word)?.as_array());
    if let Some(forms) = forms {
        let is_null = |form: &Value| form.get("type").is_some_and(|name| name == "null");
        return one_of(&forms.iter().filter(|form| !is_null(form)).collect::<Vec<_>>());
    }
    if let Some(name) = schema.get("const").and_then(Value::as_str) {
        let also = schema.get(ALSO).and_then(Value::as_array).into_iter().flatten();
        let also = also.filter_map(Value::as_str).map(str::to_owned).collect();
        return Kind::Choice(vec![Choice { name: name.to_owned(), about: about(schema), also }]);
    }
    if let Some(names) = schema.get("enum").and_then(Value::as_array) {
        let names = names.iter().filter_map(Value::as_str);
        return Kind::Choice(
            names.map(|name| Choice { name: name.to_owned(), about: String::new(), also: Vec::new() }).collect(),
        );
    }
    let types = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        other => other.and_then(Value::as_str),
    };
    let whole = |word: &str| schema.get(word).and_then(Value::as_f64).map(|number| number as i64);
    match types {
        Some("boolean") => Kind::Flag,
        Some("integer") => Kind::Whole { least: whole("minimum"), most: whole("maximum") },
        Some("number") => Kind::Number,
        Some("array") => {
            let length = schema.get("minItems").filter(|least| Some(*least) == schema.get("maxItems"));
            let of = schema.get("items").map_or(Kind::Text, of);
            Kind::List { of: Box::new(of), length: length.and_then(Value::as_u64) }
        }
        Some("object") if schema.get("additionalProperties") == Some(&Value::Bool(true)) => Kind::Free,
        Some("object") => Kind::Table(keys(schema)),
        _ => Kind::Text,
    }
}

/// What several forms are together.
fn one_of(forms: &[&Value]) -> Kind {
    let mut kinds: Vec<(String, Kind)> = forms.iter().map(|form| (about(form), of(form))).collect();
    if kinds.len() == 1 {
        return kinds.remove(0).1;
    }
    let (mut choices, mut variants) = (Vec::new(), Vec::new());
    for (about, kind) in kinds {
        match kind {
            Kind::Choice(more) => choices.extend(more),
            Kind::Table(keys) => variants.push(Variant { about, keys }),
            Kind::Tables(more) => variants.extend(more),
            _ => {}
        }
    }
    match (choices.is_empty(), variants.is_empty()) {
        (false, _) => Kind::Choice(choices),
        (true, false) => Kind::Tables(variants),
        (true, true) => Kind::Text,
    }
}

/// The keys of a table, in the order of their names but for what a section's kind is.
fn keys(schema: &Value) -> Vec<Key> {
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let required = schema.get("required").and_then(Value::as_array);
    let key = |(name, schema): (&String, &Value)| Key {
        name: name.clone(),
        about: about(schema),
        kind: of(schema),
        required: required.is_some_and(|names| names.iter().any(|required| required == name)),
        default: schema.get("default").filter(|value| !value.is_null()).cloned(),
    };
    let mut keys: Vec<Key> = properties.iter().map(key).collect();
    // Plain settings first, then tables, as a TOML file has to have them.
    keys.sort_by_key(|key| matches!(key.kind, Kind::Free | Kind::Table(_) | Kind::Tables(_)));
    keys
}

/// What a schema says of itself, in one line.
fn about(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
