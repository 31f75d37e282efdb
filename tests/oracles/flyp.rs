//! FLYP's contrastive loss with equal captions in a batch, in four treatments.

use anyhow::{Context as _, Result, bail};
use burn::tensor::Tensor;
use robustify_distill::contrastive::{Duplicates, contrastive, contrastive_of_unit};
use robustify_zoo::clip::normalised;

use crate::oracle::{Oracle, Values};

pub fn check(oracle: &mut Oracle) -> Result<()> {
    let treatments = oracle.config["treatments"].as_object().context("config.treatments is no table")?.clone();
    for name in treatments.keys() {
        let duplicates = match name.as_str() {
            "as_trained" => Duplicates::Negatives,
            "soft_labels" => Duplicates::Shared,
            "ignore_duplicates" => Duplicates::Ignored,
            "google_sup" => Duplicates::EachAgainstRest,
            other => bail!("the library has no treatment `{other}`"),
        };
        of_treatment(oracle, name, duplicates)?;
    }
    Ok(())
}

fn of_treatment(oracle: &mut Oracle, name: &str, duplicates: Duplicates) -> Result<()> {
    let meanings: Vec<u64> = oracle.labels("in.labels")?.into_iter().map(|label| label as u64).collect();
    let leaves: [Tensor<2>; 2] = [oracle.leaf("in.image_raw")?, oracle.leaf("in.text_raw")?];
    let scale = scale(oracle)?;
    let [images, texts] = leaves.clone();
    let loss = contrastive(images, texts, scale.clone(), &meanings, duplicates);
    oracle.expect_tensor(&format!("out.{name}"), loss.clone().without_autodiff())?;
    // Of a treatment whose gradient the reference cannot compute, the file has the value alone.
    let gradients = format!("out.grad.{name}.");
    if oracle.names(&gradients).is_empty() {
        return Ok(());
    }
    let backward = loss.backward();
    let missing = "the loss does not depend on its input";
    oracle.expect_tensor(&format!("{gradients}logit_scale_log"), scale.grad(&backward).context(missing)?)?;
    for (leaf, of) in leaves.iter().zip(["image", "text"]) {
        oracle.expect_tensor(&format!("{gradients}{of}_raw"), leaf.grad(&backward).context(missing)?)?;
    }
    let unit = |leaf: &Tensor<2>| normalised(leaf.clone().without_autodiff()).autodiff().require_grad();
    let leaves = leaves.each_ref().map(unit);
    let [images, texts] = leaves.clone();
    let backward = contrastive_of_unit(images, texts, self::scale(oracle)?, &meanings, duplicates).backward();
    for (leaf, of) in leaves.iter().zip(["image", "text"]) {
        oracle.expect_tensor(&format!("{gradients}{of}_unit"), leaf.grad(&backward).context(missing)?)?;
    }
    Ok(())
}

/// The logarithm of the factor, a number in the file.
fn scale(oracle: &Oracle) -> Result<Tensor<1>> {
    let Values { values, .. } = oracle.values("in.logit_scale_log")?;
    let value = *values.first().context("in.logit_scale_log is empty")? as f32;
    Ok(Tensor::<1>::from_floats([value], &oracle.device).autodiff().require_grad())
}
