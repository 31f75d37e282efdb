//! Learning rates at chosen steps.

use anyhow::{Context as _, Result};
use robustify_distill::schedule::Cosine;
use serde_json::Value;

use crate::oracle::Oracle;

pub fn check(oracle: &mut Oracle) -> Result<()> {
    let all = oracle.json.as_object().context("a table of schedules is expected")?.clone();
    for (name, case) in &all {
        match name.as_str() {
            "vpt" => of_epochs(oracle, name, case)?,
            _ if case.get("lr_used_by_step_t").is_some() => of_steps(oracle, name, case)?,
            _ => of_groups(oracle, name, case)?,
        }
    }
    Ok(())
}

fn number(case: &Value, key: &str) -> Result<f64> {
    case[key].as_f64().with_context(|| format!("{key} is no number"))
}

fn count(case: &Value, key: &str) -> Result<usize> {
    case[key].as_u64().map(|count| count as usize).with_context(|| format!("{key} is no count"))
}

fn numbers(values: &Value) -> Result<Vec<f64>> {
    let values = values.as_array().context("a list of numbers is expected")?;
    values.iter().map(|value| value.as_f64().context("a number is expected")).collect()
}

/// VPT's: a rate for every epoch.
fn of_epochs(oracle: &mut Oracle, name: &str, case: &Value) -> Result<()> {
    let schedule = Cosine::vpt(number(case, "base_lr")?, count(case, "warmup_epochs")?, count(case, "epochs")?);
    let want = numbers(&case["lr_used_by_epoch"])?;
    let got: Vec<f64> = (0..want.len()).map(|epoch| schedule.rate(epoch)).collect();
    oracle.compare(name, &got, &want)
}

/// WiSE-FT's and FLYP's: the rate that a step runs at.
fn of_steps(oracle: &mut Oracle, name: &str, case: &Value) -> Result<()> {
    let (peak, warmup, total) = (number(case, "base_lr")?, count(case, "warmup")?, count(case, "total_steps")?);
    let schedule = match case.get("min_lr").and_then(Value::as_f64) {
        Some(added) => Cosine::flyp(peak, added, warmup, total),
        None => Cosine::wise_ft(peak, warmup, total),
    };
    let table = case["lr_used_by_step_t"].as_object().context("lr_used_by_step_t is no table")?;
    let (mut got, mut want) = (Vec::new(), Vec::new());
    for (step, rate) in table {
        got.push(schedule.rate(step.parse()?));
        want.push(rate.as_f64().context("a rate is no number")?);
    }
    oracle.compare(name, &got, &want)
}

/// Feature Distillation's: rates of all groups after the update of a step, and before the first.
fn of_groups(oracle: &mut Oracle, name: &str, case: &Value) -> Result<()> {
    let of_epoch = count(case, "steps_per_epoch")?;
    let steps = [count(case, "warmup_epochs")? * of_epoch, count(case, "epochs")? * of_epoch];
    let (warmup, least) = (number(case, "warmup_lr")?, number(case, "min_lr")?);
    let peaks = numbers(&case["base_lr_per_group"])?;
    let groups = peaks.iter().map(|&peak| Cosine::feature_distillation(peak, warmup, least, steps));
    let groups: Vec<Cosine> = groups.collect();
    let rates = |step: usize| groups.iter().map(move |group| group.rate(step));
    let (mut got, mut want) = (rates(0).collect::<Vec<_>>(), numbers(&case["lr_before_first_update"])?);
    let table = case["lr_after_step_update_t"].as_object().context("lr_after_step_update_t is no table")?;
    for (step, expected) in table {
        got.extend(rates(step.parse()?));
        want.extend(numbers(expected)?);
    }
    oracle.compare(name, &got, &want)
}
