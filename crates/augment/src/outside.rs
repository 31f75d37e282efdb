//! Steps of a policy that are made outside this crate, by whoever has the networks for them.

use std::fmt::Debug;
use std::sync::Arc;

use image::RgbImage;
use robustify_rng::Key;

use crate::AugmentError;

/// An operation that a [`Policy`](crate::Policy) can hold as a step although this crate does not know it, such as a network
/// of DeepAugment.
///
/// Nothing can go wrong while images are augmented: a policy works on the threads of a loader, in the middle of a training.
/// So whatever can fail (a missing file, weights that do not fit, settings out of range) has to be found when the operation
/// is made, and an image that it can do nothing with, such as one without pixels, comes back as it was.
pub trait Augmentation: Debug + Send + Sync {
    /// The name in the text of a policy, and among [`Policy::ops`](crate::Policy::ops).
    fn name(&self) -> &str;

    /// What stands in brackets behind the name in the text of a policy; empty for the defaults.
    fn arguments(&self) -> String;

    /// Everything that determines its results, for the names of cached files: beside name and arguments the digests of the
    /// files that it was made from.
    fn identity(&self) -> String;

    /// One augmented view of the image, of the same size. It depends on the pixels and the key alone.
    fn apply(&self, image: &RgbImage, key: Key) -> RgbImage;
}

/// Makes the operation of a name from what stands in the brackets behind it: nothing if it does not know the name, an error
/// if it knows the name and the rest is wrong. See [`Policy::parse_with`](crate::Policy::parse_with).
pub type Operations<'a> = dyn Fn(&str, &str) -> Option<Result<Arc<dyn Augmentation>, AugmentError>> + 'a;

/// Names that the crate `robustify-deepaugment` gives a meaning, for the sake of the message where nobody does.
pub(crate) const NETWORKS: [&str; 4] = ["noise2net", "autoencoder", "cae", "edsr"];

/// A step from outside. It equals another of the same name, arguments and files.
#[derive(Clone, Debug)]
pub(crate) struct Outside(pub Arc<dyn Augmentation>);

impl PartialEq for Outside {
    fn eq(&self, other: &Self) -> bool {
        self.0.identity() == other.0.identity()
    }
}
