//! The names users type: backends, and selectors of one device of a backend.

use std::fmt;
use std::str::FromStr;

use crate::DeviceError;

/// A backend of Burn. Each is a cargo feature of this crate, of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendName {
    /// `burn-flex`: the CPU, in Rust. The default, and the only backend whose results are bit-exact from run to run.
    Flex,
    /// `burn-tch`: LibTorch, on the CPU, a CUDA card or Apple's GPU.
    Tch,
    /// `burn-wgpu` through whichever graphics API it settles on.
    Wgpu,
    /// `burn-wgpu` on Vulkan, with SPIR-V kernels.
    Vulkan,
    /// `burn-wgpu` on Metal.
    Metal,
    /// `burn-cuda`: NVIDIA's cards.
    Cuda,
    /// `burn-rocm`: AMD's cards.
    Rocm,
}

impl BackendName {
    /// Every backend, the default first.
    pub const ALL: [Self; 7] = [Self::Flex, Self::Tch, Self::Wgpu, Self::Vulkan, Self::Metal, Self::Cuda, Self::Rocm];

    /// The name as typed after `--backend`, which is also the cargo feature.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Tch => "tch",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
        }
    }

    /// Whether the backend works on any machine it was built on, without an adapter.
    pub const fn runs_on_cpu(self) -> bool {
        matches!(self, Self::Flex | Self::Tch)
    }

    fn places(self) -> &'static str {
        match self {
            Self::Flex => "`flex` alone: it has one device",
            Self::Tch => "`tch`, `tch:cuda:N` or `tch:mps`",
            _ => "nothing or the number of an adapter, as in `vulkan:1`",
        }
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for BackendName {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<Self, UnknownBackend> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| UnknownBackend { found: text.to_owned() })
    }
}

/// A backend's name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown backend `{found}`; expected one of {}", BackendName::ALL.map(BackendName::as_str).join(", "))]
pub struct UnknownBackend {
    /// What was typed.
    pub found: String,
}

/// One device of a backend, as typed: `flex`, `tch:cuda:0`, `vulkan:1`. Displays as the text it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The device the backend takes when none is named.
    Default(BackendName),
    /// An adapter by its place in the backend's list, from 0; for LibTorch, a CUDA card.
    Adapter {
        /// The backend.
        backend: BackendName,
        /// Place in the list of its adapters, from 0.
        index: usize,
    },
    /// LibTorch on Apple's GPU.
    Mps,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    ///
    /// The backend is none, or has no such place.
    pub fn parse(text: &str) -> Result<Self, DeviceError> {
        let (name, place) = match text.split_once(':') {
            Some((name, place)) => (name, Some(place)),
            None => (text, None),
        };
        let backend: BackendName = name.parse()?;
        let Some(place) = place else { return Ok(Self::Default(backend)) };
        let index = |digits: &str| {
            let index: usize = digits.parse().ok()?;
            // `+1` and `01` are numbers too, but no places.
            (index.to_string() == digits).then_some(Self::Adapter { backend, index })
        };
        let selector = match backend {
            BackendName::Flex => None,
            BackendName::Tch if place == "mps" => Some(Self::Mps),
            BackendName::Tch => place.strip_prefix("cuda:").and_then(index),
            _ => index(place),
        };
        selector.ok_or_else(|| DeviceError::UnknownPlace {
            selector: text.to_owned(),
            backend,
            place: place.to_owned(),
            expected: backend.places(),
        })
    }

    /// The backend it belongs to.
    pub fn backend(&self) -> BackendName {
        match self {
            Self::Default(backend) | Self::Adapter { backend, .. } => *backend,
            Self::Mps => BackendName::Tch,
        }
    }
}

impl From<BackendName> for Selector {
    fn from(name: BackendName) -> Self {
        Self::Default(name)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(backend) => write!(f, "{backend}"),
            Self::Adapter { backend: BackendName::Tch, index } => write!(f, "tch:cuda:{index}"),
            Self::Adapter { backend, index } => write!(f, "{backend}:{index}"),
            Self::Mps => write!(f, "tch:mps"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_selectors_read_back_as_they_are_written() {
        for name in BackendName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for text in ["flex", "tch", "tch:cuda:2", "tch:mps", "cuda:1", "vulkan", "metal:0"] {
            assert_eq!(Selector::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_place_the_backend_does_not_have_is_refused_with_those_it_has() {
        for text in ["flex:0", "tch:0", "tch:cuda", "tch:cuda:x", "cuda:-1", "cuda:", "vulkan:mps"] {
            let error = Selector::parse(text).unwrap_err();
            assert!(matches!(error, DeviceError::UnknownPlace { .. }), "{text}: {error}");
        }
        assert_eq!(
            Selector::parse("tch:gpu").unwrap_err().to_string(),
            "backend `tch:gpu`: `gpu` is no place of `tch`; expected `tch`, `tch:cuda:N` or `tch:mps`"
        );
    }
}
