//! `init`: the configuration for one's own images and model, as a file.

use std::path::Path;

use anyhow::ensure;
use robustify_experiment::settings as files;
use robustify_methods::Config;
use robustify_report::write_atomic;

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
    write_atomic(&options.out, text.as_bytes())?;
    console::result(&format!("{path}: written; `robustify train --config {path}` runs it\n"))
}
