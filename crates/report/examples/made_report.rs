//! Writes the report of an evaluation that nobody made into a folder, to look at: `cargo run -p robustify-report --example made_report -- DIR`.

#[path = "../tests/made.rs"]
mod made;

use std::path::PathBuf;

use robustify_report::page::{Look, write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("which folder? It is the one argument")?);
    std::fs::create_dir_all(&folder)?;
    let evaluation = made::evaluation();
    evaluation.write(&folder.join("evaluation.json"))?;
    write(&folder, &evaluation, Some(&made::times()), &Look::default())?;
    Ok(())
}
