//! The parts of an evaluation among several programs.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

/// One of several programs that share the parts: number `index`, from 1, of `count`. It computes the units whose number, divided by
/// `count`, leaves `index - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// The only one.
    pub const WHOLE: Self = Self { index: 1, count: 1 };

    /// Number `index`, from 1, of `count`.
    ///
    /// # Errors
    /// Numbers that are none of a shard.
    pub fn new(index: usize, count: usize) -> anyhow::Result<Self> {
        ensure!((1..=count).contains(&index), "shard {index}/{count}: I/N is expected, with I from 1 to N");
        Ok(Self { index, count })
    }

    /// What an array of jobs says of this process; none outside of one. SLURM numbers its tasks from `SLURM_ARRAY_TASK_MIN` on;
    /// Kubernetes gives an indexed job `JOB_COMPLETION_INDEX`, from 0, and the manifest that this program writes `JOB_COMPLETIONS`.
    ///
    /// # Errors
    /// Variables that are no numbers, an array with gaps, or a Kubernetes job that does not say of how many.
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Self>> {
        let number = |name: &str| {
            let parse =
                |text: String| text.trim().parse::<usize>().with_context(|| format!("{name}={text}: no number"));
            variable(name).map(parse).transpose()
        };
        if let (Some(task), Some(count)) = (number("SLURM_ARRAY_TASK_ID")?, number("SLURM_ARRAY_TASK_COUNT")?) {
            let (least, most) = (number("SLURM_ARRAY_TASK_MIN")?, number("SLURM_ARRAY_TASK_MAX")?);
            let least = least.unwrap_or(0);
            let has_gaps = most.is_some_and(|most| most + 1 != least + count) || task < least || task >= least + count;
            ensure!(
                !has_gaps,
                "SLURM_ARRAY_TASK_ID={task} of {count} tasks from {least} on: an array without gaps is expected, as in --array=1-{count}; \
                 --shard I/N names the shard otherwise"
            );
            return Ok(Some(Self { index: task - least + 1, count }));
        }
        match (number("JOB_COMPLETION_INDEX")?, number("JOB_COMPLETIONS")?) {
            (Some(index), Some(count)) => Self::new(index + 1, count).map(Some),
            (Some(index), None) => bail!(
                "JOB_COMPLETION_INDEX={index}, but nothing says of how many: set JOB_COMPLETIONS to the job's `completions`, or give \
                 --shard I/N"
            ),
            _ => Ok(None),
        }
    }

    /// Whether a unit is this one's.
    pub fn has(self, unit: usize) -> bool {
        unit % self.count == self.index - 1
    }

    /// The shard that a unit belongs to, of as many as this is one of.
    pub fn of_unit(self, unit: usize) -> Self {
        Self { index: unit % self.count + 1, count: self.count }
    }

    /// How many there are.
    pub fn count(self) -> usize {
        self.count
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.trim().parse().ok()?, n.trim().parse().ok()?)));
        let (index, count) = parts.with_context(|| format!("shard `{text}`: I/N is expected, as in 1/3"))?;
        Self::new(index, count)
    }
}

/// A file for a scheduler, which runs all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// A batch script with an array of jobs.
    Slurm,
    /// An indexed job.
    Kubernetes,
}

impl Manifest {
    /// The text of the file: `command`, word by word, in `shards` processes at a time.
    pub fn text(self, command: &[String], shards: usize) -> String {
        let quoted: Vec<String> = command.iter().map(|word| shell(word)).collect();
        match self {
            Self::Slurm => format!(
                "#!/bin/sh\n#SBATCH --job-name=robustify-eval\n#SBATCH --array=1-{shards}\n#SBATCH --cpus-per-task=8\n#SBATCH \
                 --mem=8G\n#SBATCH --time=04:00:00\n# The program finds its shard in SLURM_ARRAY_TASK_ID. A task that failed is run again \
                 on its own: sbatch --array=I FILE would\n# make an array of one, so name its shard: --shard I/{shards}.\nset -eu\ncd \
                 \"${{SLURM_SUBMIT_DIR:-.}}\"\n{}\n",
                quoted.join(" ")
            ),
            Self::Kubernetes => {
                let list: Vec<String> =
                    command.iter().map(|word| serde_json::Value::from(word.as_str()).to_string()).collect();
                format!(
                    "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: robustify-eval\nspec:\n  completionMode: Indexed\n  completions: \
                     {shards}\n  parallelism: {shards}\n  backoffLimitPerIndex: 2\n  template:\n    spec:\n      restartPolicy: Never\n      \
                     containers:\n        - name: eval\n          # An image with the program, and the volume with models, data and results.\n          \
                     image: robustify:latest\n          workingDir: /evaluation\n          command: [{}]\n          env:\n            - name: \
                     JOB_COMPLETIONS\n              value: \"{shards}\"\n          resources:\n            requests: {{ cpu: \"8\", memory: \
                     8Gi }}\n          volumeMounts:\n            - {{ name: work, mountPath: /evaluation }}\n      volumes:\n        - name: work\n          \
                     persistentVolumeClaim: {{ claimName: robustify }}\n",
                    list.join(", ")
                )
            }
        }
    }
}

impl FromStr for Manifest {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text {
            "slurm" => Ok(Self::Slurm),
            "kubernetes" => Ok(Self::Kubernetes),
            other => bail!("manifest `{other}`: slurm or kubernetes is expected"),
        }
    }
}

/// A word as a shell has to be given it.
pub fn shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> anyhow::Result<Option<Shard>> {
        let find = |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        Shard::of_environment(find)
    }

    #[test]
    fn every_unit_is_one_shards() {
        let shards: Vec<Shard> = ["1/3", "2/3", "3/3"].map(|text| text.parse().unwrap()).to_vec();
        for unit in 0..10 {
            let owners: Vec<_> = shards.iter().filter(|shard| shard.has(unit)).collect();
            assert_eq!(owners, [&Shard::WHOLE.max(shards[0]).of_unit(unit)], "{unit}");
        }
        for wrong in ["0/3", "4/3", "1", "a/b", "1/0"] {
            assert!(wrong.parse::<Shard>().unwrap_err().to_string().contains("I/N is expected"), "{wrong}");
        }
    }

    #[test]
    fn schedulers_say_which_shard_this_is() {
        let slurm = |id, min, max| {
            let count = "4";
            of(&[
                ("SLURM_ARRAY_TASK_ID", id),
                ("SLURM_ARRAY_TASK_COUNT", count),
                ("SLURM_ARRAY_TASK_MIN", min),
                ("SLURM_ARRAY_TASK_MAX", max),
            ])
        };
        assert_eq!(slurm("1", "1", "4").unwrap(), Some(Shard::new(1, 4).unwrap()));
        assert_eq!(slurm("3", "0", "3").unwrap(), Some(Shard::new(4, 4).unwrap()));
        assert!(slurm("9", "1", "9").unwrap_err().to_string().contains("without gaps"));
        let kubernetes = of(&[("JOB_COMPLETION_INDEX", "0"), ("JOB_COMPLETIONS", "2")]).unwrap();
        assert_eq!(kubernetes, Some(Shard::new(1, 2).unwrap()));
        assert!(of(&[("JOB_COMPLETION_INDEX", "0")]).unwrap_err().to_string().contains("JOB_COMPLETIONS"));
        assert_eq!(of(&[]).unwrap(), None);
    }

    #[test]
    fn a_manifest_runs_the_command_in_every_shard() {
        let command: Vec<String> = ["robustify", "eval", "my model.onnx", "--out", "o"].map(str::to_owned).to_vec();
        let slurm = Manifest::Slurm.text(&command, 12);
        assert!(slurm.contains("--array=1-12\n") && slurm.ends_with("robustify eval 'my model.onnx' --out o\n"));
        let kubernetes = Manifest::Kubernetes.text(&command, 12);
        assert!(kubernetes.contains("completions: 12\n") && kubernetes.contains(r#""my model.onnx""#));
        assert!(kubernetes.contains("JOB_COMPLETIONS\n              value: \"12\"\n"), "{kubernetes}");
    }
}
