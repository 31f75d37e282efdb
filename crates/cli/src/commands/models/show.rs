use robustify_experiment::own::preprocess_line;
use robustify_report::{Style, Table};
use robustify_zoo::{Model, Unit, registry};

use super::list::Facts;
use super::millions;
use crate::args::ModelsShow;
use crate::console;

/// Prints what is known of one model, and the table of its groups.
pub fn run(options: &ModelsShow) -> anyhow::Result<()> {
    let entry = registry::find(&options.name)?;
    let device = robustify_device::open(None)?;
    let facts = Facts::of(entry, &device)?;
    let units = Model::blank(&(entry.config)(), &device)?.units();
    if options.json {
        let mut json = facts.json()?;
        json["groups"] = serde_json::to_value(&units)?;
        return console::result(&format!("{}\n", serde_json::to_string_pretty(&json)?));
    }
    console::result(&format!("{}{}", summary(&facts), groups(&units)))
}

fn summary(facts: &Facts<'_>) -> String {
    let entry = facts.entry;
    let projected = facts.projection.map(|width| format!(", before CLIP's projection to {width}")).unwrap_or_default();
    let mut lines = vec![
        entry.name(),
        format!("  parameters     {}", millions(facts.parameters)),
        format!("  multiply-adds  {:.3} G an image", facts.gmacs),
        format!("  features       {}{projected}", facts.features),
        format!("  preprocess     {}", preprocess_line(&entry.preprocessing)),
        format!("  licence        {}", entry.licence),
        format!("  paper          {}", entry.paper),
    ];
    lines.extend(
        entry.text.map(|_| "  towers         image and text; the groups below are those of the image tower".to_owned()),
    );
    lines.extend(entry.hub.map(|hub| format!("  weights        hf-hub:{hub} (https://huggingface.co/{hub})")));
    lines.join("\n") + "\n"
}

/// Groups in the order of a forward: what tuning from a group on leaves frozen.
fn groups(units: &[Unit]) -> String {
    let total: usize = units.iter().map(|unit| unit.parameters).sum();
    let mut table = Table::new(["cut", "group", "parameters", "tuned from here", "share"]).left(1);
    let mut rest = total;
    for (index, unit) in units.iter().enumerate() {
        let share = 100.0 * rest as f64 / total.max(1) as f64;
        let parameters = [unit.parameters, rest].map(millions);
        let [own, tuned] = parameters;
        table.row([index.to_string(), unit.name.clone(), own, tuned, format!("{share:.1} %")]);
        rest -= unit.parameters;
    }
    let last = units.len().saturating_sub(2);
    format!(
        "\n{}Everything before a cut is frozen, everything after it tuned. `split.head_blocks` and `split.shared_blocks` count groups\n\
         from the end, without `head`: with 1 and 0 the cut is before {}.\n",
        table.render(Style::Box),
        units.get(last).map_or("head", |unit| unit.name.as_str()),
    )
}
