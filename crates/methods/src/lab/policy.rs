//! Augmentation policies to be used: with the steps that need networks, which the crate augment does not know by itself.

use anyhow::Result;
use burn::tensor::Device;
use robustify_augment::Policy;
use robustify_deepaugment::operations;

use super::Lab;
use super::config::ImageTrainingConfig;

/// The policy that a text describes; the networks of its steps run on `device`.
///
/// # Errors
/// A text that is no policy, and files of weights that cannot be read or do not fit their networks.
pub fn policy(text: &str, device: &Device) -> Result<Policy> {
    Ok(Policy::parse_with(text, &operations(device))?)
}

/// What stands for a policy in the hash of a stage: its text, a recipe's written out, and what the files hold that the text names.
///
/// # Errors
/// As [`policy`].
pub fn policy_identity(text: &str, device: &Device) -> Result<String> {
    let identities = policy(text, device)?.identities();
    let text = robustify_augment::written_out(text).map_err(anyhow::Error::msg)?;
    Ok(if identities.is_empty() { text.to_owned() } else { format!("{text} [{}]", identities.join(", ")) })
}

impl ImageTrainingConfig {
    /// The settings for the hash of a stage, with [`policy_identity`] in the place of the policy.
    ///
    /// # Errors
    /// As [`policy`].
    pub fn identified(&self, device: &Device) -> Result<Self> {
        let policy = self.policy.as_deref().map(|text| policy_identity(text, device)).transpose()?;
        Ok(Self { policy, ..self.clone() })
    }
}

impl Lab<'_> {
    /// The policy that a text describes; see [`policy`].
    ///
    /// # Errors
    /// As [`policy`].
    pub fn policy(&self, text: &str) -> Result<Policy> {
        policy(text, &self.machine.device)
    }
}
