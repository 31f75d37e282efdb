//! Which set of severity constants applies.

use std::fmt;
use std::str::FromStr;

use crate::AugmentError;

/// A set of severity constants, and the details of the program that they come from.
///
/// The first four are the official benchmarks, each made for one image size. They work on images of any size; away from
/// their own size the result is not the official benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Profile {
    /// CIFAR-10-C and CIFAR-100-C: 32x32 pixels.
    CifarC,
    /// Tiny-ImageNet-C and the 64 pixel ImageNet-C: 64x64 pixels.
    TinyC,
    /// ImageNet-C: 224x224 pixels.
    ImagenetC,
    /// ImageNet-C for Inception: 299x299 pixels.
    ImagenetC299,
    /// The package `imagecorruptions` (Michaelis et al. 2019, arXiv:1907.07484) for images of any size: ImageNet-C's
    /// constants and an elastic transform of its own.
    Imagecorruptions,
    /// ImageNet-C's constants with every length in pixels multiplied by the shorter side / 224, so that an image of
    /// any size looks as corrupted as one of 224 pixels. Not an official benchmark.
    Scaled,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 6] =
        [Self::CifarC, Self::TinyC, Self::ImagenetC, Self::ImagenetC299, Self::Imagecorruptions, Self::Scaled];

    /// The name, for example `cifar-c` or `imagenet-c-299`.
    pub fn name(self) -> &'static str {
        match self {
            Self::CifarC => "cifar-c",
            Self::TinyC => "tiny-c",
            Self::ImagenetC => "imagenet-c",
            Self::ImagenetC299 => "imagenet-c-299",
            Self::Imagecorruptions => "imagecorruptions",
            Self::Scaled => "scaled",
        }
    }

    /// The side in pixels of the square images that the constants were made for; none for profiles for any size.
    pub fn native_side(self) -> Option<u32> {
        match self {
            Self::CifarC => Some(32),
            Self::TinyC => Some(64),
            Self::ImagenetC => Some(224),
            Self::ImagenetC299 => Some(299),
            Self::Imagecorruptions | Self::Scaled => None,
        }
    }

    /// What lengths in pixels are multiplied by for an image of this size.
    pub(crate) fn length_scale(self, width: usize, height: usize) -> f64 {
        match self {
            Self::Scaled => width.min(height) as f64 / 224.0,
            _ => 1.0,
        }
    }

    /// What to say when a picture is not of the size that the constants were made for. `way_out` is what to set.
    pub fn misfit(self, picture: &str, (width, height): (u32, u32), way_out: &str) -> Option<String> {
        let side = self.native_side().filter(|&side| (width, height) != (side, side))?;
        let made_for = format!("{self} was made for {side}x{side} pixels and {picture} has {width}x{height}");
        Some(format!("{made_for}: not the official benchmark; see {way_out}"))
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

/// A constant with one value for each official set.
pub(crate) struct PerProfile<T> {
    pub cifar: T,
    pub tiny: T,
    pub imagenet: T,
    pub inception: T,
}

impl<T> PerProfile<T> {
    pub const fn get(&self, profile: Profile) -> &T {
        match profile {
            Profile::CifarC => &self.cifar,
            Profile::TinyC => &self.tiny,
            Profile::ImagenetC299 => &self.inception,
            Profile::ImagenetC | Profile::Imagecorruptions | Profile::Scaled => &self.imagenet,
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
        assert!("cifar10".parse::<Profile>().unwrap_err().to_string().contains("cifar-c, tiny-c"));
    }

    #[test]
    fn a_picture_of_another_size_than_the_constants_are_for_is_named() {
        assert!(
            Profile::CifarC.misfit("a.png", (32, 32), "x").is_none()
                && Profile::Scaled.misfit("a.png", (9, 7), "x").is_none()
        );
        let said = Profile::CifarC.misfit("a.png", (32, 30), "--profile").unwrap();
        assert!(
            said.contains("made for 32x32 pixels and a.png has 32x30") && said.ends_with("see --profile"),
            "{said}"
        );
    }
}
