//! What a command came to: the table and the comparisons, for people.

use std::path::Path;

use robustify_report::Row;

use crate::arena::Arena;
use crate::compare::verdicts;
use crate::results::{Costs, Facts, Measurement};
use crate::summary::Runs;
use crate::table::Shown;
use crate::wrap::wrapped;

/// What came of one seed or several.
pub struct Report {
    /// The numbers.
    pub runs: Runs,
    /// How Robustify compares with each other row: what the numbers are, then a sentence each.
    pub verdicts: Vec<String>,
    /// Every way to answer against the paper's product; none without three heads or corruptions.
    pub arena: Option<Arena>,
    facts: Facts,
    costs: Vec<(String, Costs)>,
}

impl Report {
    /// Columns of a line where nobody says how many there are.
    pub const WIDTH: usize = 120;

    pub(crate) fn new(seeds: &[Measurement]) -> anyhow::Result<Self> {
        let rows: Vec<&[Row]> = seeds.iter().map(|seed| seed.rows.as_slice()).collect();
        let outcomes: Vec<_> = seeds.iter().map(|seed| &seed.outcomes).collect();
        let Some(first) = seeds.first() else { anyhow::bail!("nothing was measured") };
        let facts = Facts { seeds: seeds.len(), ..first.facts.clone() };
        let model = |(model, _): &(String, Costs)| {
            let of = |seed: &Measurement| seed.costs.iter().find(|(name, _)| name == model).map(|(_, costs)| *costs);
            (model.clone(), Costs::mean(&seeds.iter().filter_map(of).collect::<Vec<_>>()))
        };
        let costs: Vec<(String, Costs)> = first.costs.iter().map(model).collect();
        let arena = Arena::new(&outcomes, &facts, &costs)?;
        Ok(Self { runs: Runs::new(&rows), verdicts: verdicts(&outcomes)?, arena, facts, costs })
    }

    /// The table and the verdicts, for people, in lines of [`Self::WIDTH`] columns at most.
    pub fn text(&self) -> String {
        self.text_in(Self::WIDTH)
    }

    /// The same for a terminal of so many columns; what is wider than that is divided where it can be.
    pub fn text_in(&self, width: usize) -> String {
        let width = width.min(Self::WIDTH);
        let shown = Shown { runs: &self.runs, facts: &self.facts, costs: &self.costs };
        let sentences = self.verdicts.iter().map(|sentence| wrapped(sentence, "", width));
        let text = [shown.text(width), "\n".to_owned()].into_iter().chain(sentences).collect::<String>();
        text.trim_end().to_owned() + "\n"
    }

    /// The arena for a terminal of so many columns: every way to answer against the paper's product. Says so if there is none.
    pub fn arena_in(&self, width: usize) -> String {
        match &self.arena {
            Some(arena) => arena.text(width.min(Self::WIDTH)),
            None => "No arena: it takes the method robustify and corrupted images.\n".to_owned(),
        }
    }

    /// Writes the arena's numbers into a folder; nothing without them.
    pub(crate) fn write_arena(&self, folder: &Path) -> anyhow::Result<()> {
        self.arena.as_ref().map_or(Ok(()), |arena| arena.write(folder))
    }
}
