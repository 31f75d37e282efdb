//! The untouched large model, which every method starts from and is compared with. A linear probe replaces its classifier
//! when the data has other classes than the weights.

use anyhow::Result;

use crate::{Fitted, Lab, Method};

/// The large model as it is.
pub(crate) struct Original;

impl Method for Original {
    fn name(&self) -> &'static str {
        "original"
    }

    fn about(&self) -> &'static str {
        "the pre-trained model as it is"
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let original = lab.original()?;
        Ok(vec![lab.fitted(self.name(), original, original.model.clone(), original.hash.clone(), original.cost)?])
    }
}
