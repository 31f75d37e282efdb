//! Which set of severity constants applies.

use std::fmt;
use std::str::FromStr;

use crate::AugmentError;

/// A published set of severity constants, made for one image size.
///
/// Either works on images of any size; away from its own size it is not the official benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Profile {
    /// CIFAR-10-C and CIFAR-100-C: 32x32 pixels.
    CifarC,
    /// ImageNet-C: 224x224 pixels.
    ImagenetC,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 2] = [Self::CifarC, Self::ImagenetC];

    /// The name, `cifar-c` or `imagenet-c`.
    pub fn name(self) -> &'static str {
        match self {
            Self::CifarC => "cifar-c",
            Self::ImagenetC => "imagenet-c",
        }
    }

    /// The side in pixels of the square images that the constants were made for.
    pub fn native_side(self) -> u32 {
        match self {
            Self::CifarC => 32,
            Self::ImagenetC => 224,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Profile {
    type Err = AugmentError;

    fn from_str(name: &str) -> Result<Self, AugmentError> {
        Self::ALL.into_iter().find(|profile| profile.name() == name).ok_or_else(|| AugmentError::UnknownProfile {
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// A constant with one value for each profile.
pub(crate) struct PerProfile<T> {
    pub cifar: T,
    pub imagenet: T,
}

impl<T> PerProfile<T> {
    pub fn get(&self, profile: Profile) -> &T {
        match profile {
            Profile::CifarC => &self.cifar,
            Profile::ImagenetC => &self.imagenet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse::<Profile>().unwrap(), profile);
        }
        assert!("cifar10".parse::<Profile>().unwrap_err().to_string().contains("cifar-c, imagenet-c"));
    }
}
