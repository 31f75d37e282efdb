//! `init`: the configuration for one's own images and model, as a file.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use robustify_experiment::settings as files;
use robustify_methods::Config;

use crate::args::Init;
use crate::commands::own;
use crate::console::{self, Console};

/// Looks at images and model, and writes the file.
pub fn run(options: &Init, console: &Console) -> anyhow::Result<()> {
    let path = options.out.display();
    // Found before the images are looked at, which takes its time.
    ensure!(!options.out.exists(), "{path}: is there already, and is left alone; --out FILE names another");
    let (text, ..) = own::derived(&options.data, &options.own, &[], console)?;
    files::parse::<Config>(&text, Path::new("that was made"), &[])?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(&options.out).with_context(|| path.to_string())?;
    file.write_all(text.as_bytes()).with_context(|| path.to_string())?;
    console::result(&format!("{path}: written; `robustify train --config {path}` runs it\n"))
}
