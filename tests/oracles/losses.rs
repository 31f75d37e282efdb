//! Losses and their gradients in the logits; mixed images and targets.

use anyhow::{Context as _, Result};
use burn::tensor::Tensor;
use robustify_distill::{losses, mixing};

use crate::oracle::Oracle;

pub fn check(oracle: &mut Oracle) -> Result<()> {
    let (smoothing, rows) = (oracle.number("smoothing")?, oracle.number("n")?);
    let classes = oracle.number("k")? as usize;
    let labels = oracle.label_tensor("in.labels")?;
    let teacher: Tensor<2> = oracle.tensor("in.teacher")?;
    for smoothing in [0.0, smoothing] {
        let loss = |logits| losses::smoothed_cross_entropy(logits, labels.clone(), smoothing) / rows;
        of_logits(oracle, &format!("ce_smooth{smoothing}"), loss)?;
    }
    for tau in taus(oracle)? {
        let loss = |logits| losses::distillation(logits, teacher.clone(), tau) / rows;
        of_logits(oracle, &format!("kd_tau{tau}"), loss)?;
    }
    of_logits(oracle, "head_loss_half_ce_half_kd_tau2", |logits| {
        let ce = losses::cross_entropy(logits.clone(), labels.clone());
        (ce * 0.5 + losses::distillation(logits, teacher.clone(), 2.0) * 0.5) / rows
    })?;
    mixed(oracle, mixing::targets(labels, classes, smoothing), rows)?;
    jensen_shannon(oracle, rows, smoothing)?;
    smooth_l1(oracle)
}

/// The temperatures that the file has losses for.
fn taus(oracle: &Oracle) -> Result<Vec<f64>> {
    let names = oracle.names("out.kd_tau");
    names.iter().map(|name| Ok(name.trim_start_matches("out.kd_tau").parse()?)).collect()
}

/// A loss of the logits, and its gradient.
fn of_logits(oracle: &mut Oracle, name: &str, loss: impl Fn(Tensor<2>) -> Tensor<1>) -> Result<()> {
    of_leaf(oracle, "in.logits", name, loss)
}

fn of_leaf(oracle: &mut Oracle, leaf: &str, name: &str, loss: impl Fn(Tensor<2>) -> Tensor<1>) -> Result<()> {
    let leaf: Tensor<2> = oracle.leaf(leaf)?;
    let loss = loss(leaf.clone());
    let gradient = leaf.grad(&loss.backward()).context("the loss does not depend on its input")?;
    oracle.expect_tensor(&format!("out.{name}"), loss.without_autodiff())?;
    oracle.expect_tensor(&format!("out.grad.{name}"), gradient)
}

fn mixed(oracle: &mut Oracle, targets: Tensor<2>, rows: f64) -> Result<()> {
    let images: Tensor<4> = oracle.tensor("in.images")?;
    let weight = oracle.scalar("in.lam_mixup")?;
    let corners = oracle.labels("in.cutmix_box_yl_yh_xl_xh")?;
    let [top, bottom, left, right] = corners[..] else { anyhow::bail!("a rectangle has four corners") };
    let (pasted, own) = mixing::pasted(images.clone(), top..bottom, left..right);
    oracle.expect_tensor("out.mixup_images", mixing::blended(images, weight))?;
    oracle.expect_tensor("out.cutmix_images", pasted)?;
    oracle.expect("out.cutmix_lam", &[own])?;
    for (name, weight) in [("mixup", weight), ("cutmix", own)] {
        let targets = mixing::blended(targets.clone(), weight);
        oracle.expect_tensor(&format!("out.{name}_target"), targets.clone())?;
        let loss = |logits| losses::soft_cross_entropy(logits, targets.clone()) / rows;
        of_logits(oracle, &format!("soft_ce_{name}"), loss)?;
    }
    Ok(())
}

fn jensen_shannon(oracle: &mut Oracle, rows: f64, smoothing: f64) -> Result<()> {
    /// AugMix's weight of the consistency loss.
    const WEIGHT: f64 = 12.0;
    let labels = oracle.label_tensor("in.labels")?;
    let leaves = [oracle.leaf("in.jsd.clean")?, oracle.leaf("in.jsd.aug1")?, oracle.leaf("in.jsd.aug2")?];
    let [clean, ..] = leaves.clone();
    let ce = losses::cross_entropy(clean.clone(), labels.clone()) / rows;
    let smoothed = losses::smoothed_cross_entropy(clean, labels, smoothing) / rows;
    let divergence = losses::jensen_shannon(leaves.clone()) / rows;
    let total = ce.clone() + divergence.clone() * WEIGHT;
    let backward = total.backward();
    for (index, leaf) in leaves.iter().enumerate() {
        let gradient = leaf.grad(&backward).context("the loss does not depend on a view")?;
        oracle.expect_tensor(&format!("out.grad.jsd.total.{index}"), gradient)?;
    }
    let timms = format!("out.jsd.total_timm_default_smoothing{smoothing}");
    for (name, loss) in [
        ("out.jsd.total", total),
        ("out.jsd.ce", ce),
        ("out.jsd.jsd", divergence.clone()),
        (&timms, smoothed + divergence * WEIGHT),
    ] {
        oracle.expect_tensor(name, loss.without_autodiff())?;
    }
    Ok(())
}

fn smooth_l1(oracle: &mut Oracle) -> Result<()> {
    let target: Tensor<2> = oracle.tensor("in.sl1.target")?;
    for name in oracle.names("out.smooth_l1_beta") {
        let setting = name.trim_start_matches("out.smooth_l1_beta");
        if let Some(beta) = setting.strip_suffix("_elementwise") {
            let prediction = oracle.tensor("in.sl1.pred")?;
            oracle.expect_tensor(&name, losses::smooth_l1::<2>(prediction, target.clone(), beta.parse()?))?;
        } else {
            let beta = setting.parse()?;
            let loss = |prediction| losses::smooth_l1::<2>(prediction, target.clone(), beta).mean();
            of_leaf(oracle, "in.sl1.pred", &format!("smooth_l1_beta{setting}"), loss)?;
        }
    }
    Ok(())
}
