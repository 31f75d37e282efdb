//! Backend names to Burn devices, and the threads that compute on them; the only crate that names a backend.
//!
//! Burn chooses its backend at run time through a [`Device`]. Which backends a build *can* choose from is decided by the
//! cargo features of this crate, one for each [`BackendName`]; [`compiled`] lists them and [`open`] turns a user's
//! `--backend` into a device. Everything else in the workspace takes the device it is given.
//!
//! A selector is a backend's name, and where that backend has several devices, a place after a colon:
//!
//! | selector | device |
//! |---|---|
//! | `flex` | the CPU, in Rust; bit-exact from run to run |
//! | `tch`, `tch:cuda:0`, `tch:mps` | LibTorch on the CPU, on a CUDA card, on Apple's GPU |
//! | `cuda`, `rocm` | the first card |
//! | `wgpu`, `vulkan`, `metal` | that backend's own choice of adapter |
//! | `cuda:1`, `vulkan:1`, … | the adapter at that place in the backend's list, counted from 0 |
//!
//! A [`Machine`] is a device with [`Workers`], the threads that compute shards of a batch side by side.
//!
//! ```
//! # #[cfg(feature = "flex")] {
//! let device = robustify_device::open(Some("flex"))?;
//! assert_eq!(robustify_device::backend_of(&device), "flex");
//! # }
//! # Ok::<(), robustify_device::DeviceError>(())
//! ```
#![deny(missing_docs)]

mod ahead;
mod machine;
mod name;
mod workers;

use burn::tensor::Device;
#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal"))]
use burn::tensor::DeviceKind;
#[cfg(any(
    feature = "tch",
    feature = "wgpu",
    feature = "vulkan",
    feature = "metal",
    feature = "cuda",
    feature = "rocm"
))]
use burn::tensor::DeviceType;

pub use ahead::ahead;
pub use machine::Machine;
pub use name::{BackendName, Selector, UnknownBackend};
pub use workers::Workers;

/// Opens the device of a selector such as `flex` or `tch:cuda:0`.
///
/// Without a selector: the one backend that was compiled in beside flex, since whoever built it in meant to use it;
/// otherwise flex; otherwise the first of [`compiled`].
///
/// # Errors
///
/// The selector is not understood, its backend is not in this build, or this machine has no such adapter.
pub fn open(selector: Option<&str>) -> Result<Device, DeviceError> {
    let selector = match selector {
        Some(text) => Selector::parse(text)?,
        None => Selector::from(default_backend(&compiled()).ok_or(DeviceError::NoBackend)?),
    };
    open_selector(&selector)
}

/// The backends in this build, in the order of [`BackendName::ALL`].
pub fn compiled() -> Vec<BackendName> {
    BackendName::ALL.into_iter().filter(|name| is_compiled(*name)).collect()
}

/// The selector of a device, for reports: `flex`, `tch`, `vulkan:1`. The device may be an autodiff one. A device that
/// [`open`] cannot have made is described in Burn's own words.
pub fn backend_of(device: &Device) -> String {
    for name in compiled() {
        // The backend's own choice of adapter is no more specific than its name, so it is asked first.
        if open_selector(&Selector::from(name)).is_ok_and(|candidate| candidate == *device) {
            return name.to_string();
        }
        if let Some(index) = adapters(name).iter().position(|candidate| candidate == device) {
            let place = if name == BackendName::Tch { "cuda:" } else { "" };
            return format!("{name}:{place}{index}");
        }
    }
    #[cfg(all(feature = "tch", target_os = "macos"))]
    if libtorch_mps() == *device {
        return "tch:mps".to_owned();
    }
    format!("{device:?}")
}

/// Why no device could be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The selector names no backend.
    #[error(transparent)]
    UnknownBackend(#[from] UnknownBackend),
    /// The part after the backend's name is not one of its places.
    #[error("backend `{selector}`: `{place}` is no place of `{backend}`; expected {expected}")]
    UnknownPlace {
        /// The whole selector.
        selector: String,
        /// Its backend.
        backend: BackendName,
        /// What stood after the colon.
        place: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// The backend is known, but not part of this build.
    #[error(
        "backend `{asked}` is not compiled into this program, which has {}; \
         `cargo xtask <subcommand> --backend {asked}` builds it in",
        list(.compiled)
    )]
    NotCompiled {
        /// The backend asked for.
        asked: BackendName,
        /// Those of this build.
        compiled: Vec<BackendName>,
    },
    /// The backend is in this build, but finds no such adapter on this machine.
    #[error("backend `{selector}`: {found}; `--backend flex` needs no such device")]
    NoAdapter {
        /// The whole selector.
        selector: String,
        /// What was found instead.
        found: String,
    },
    /// The program was built without any backend.
    #[error("this program was built without a backend; `cargo xtask <subcommand> --backend flex` builds one in")]
    NoBackend,
    /// The operating system refuses a thread for the device.
    #[error(transparent)]
    Threads(std::io::Error),
}

fn list(names: &[BackendName]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

fn default_backend(compiled: &[BackendName]) -> Option<BackendName> {
    let others: Vec<_> = compiled.iter().copied().filter(|name| *name != BackendName::Flex).collect();
    match others[..] {
        [only] => Some(only),
        _ if compiled.contains(&BackendName::Flex) => Some(BackendName::Flex),
        _ => others.first().copied(),
    }
}

fn is_compiled(name: BackendName) -> bool {
    match name {
        BackendName::Flex => cfg!(feature = "flex"),
        BackendName::Tch => cfg!(feature = "tch"),
        BackendName::Wgpu => cfg!(feature = "wgpu"),
        BackendName::Vulkan => cfg!(feature = "vulkan"),
        BackendName::Metal => cfg!(feature = "metal"),
        BackendName::Cuda => cfg!(feature = "cuda"),
        BackendName::Rocm => cfg!(feature = "rocm"),
    }
}

fn open_selector(selector: &Selector) -> Result<Device, DeviceError> {
    let name = selector.backend();
    if !is_compiled(name) {
        return Err(DeviceError::NotCompiled { asked: name, compiled: compiled() });
    }
    let adapters = adapters(name);
    match selector {
        Selector::Mps => open_mps(selector),
        Selector::Adapter { index, .. } => {
            let count = adapters.len();
            adapters.into_iter().nth(*index).ok_or_else(|| DeviceError::NoAdapter {
                selector: selector.to_string(),
                found: format!("this machine has {count} such adapter(s), counted from 0"),
            })
        }
        Selector::Default(name) if name.runs_on_cpu() || !adapters.is_empty() => Ok(default_device(*name)),
        Selector::Default(name) => Err(DeviceError::NoAdapter {
            selector: name.to_string(),
            found: "no adapter or no driver was found on this machine".to_owned(),
        }),
    }
}

/// The device a backend takes when none is named. Only for backends in this build: `open_selector` checks.
fn default_device(name: BackendName) -> Device {
    match name {
        #[cfg(feature = "flex")]
        BackendName::Flex => Device::flex(),
        #[cfg(feature = "tch")]
        BackendName::Tch => libtorch_cpu(),
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => Device::wgpu(DeviceKind::DefaultDevice),
        #[cfg(feature = "vulkan")]
        BackendName::Vulkan => Device::vulkan(DeviceKind::DefaultDevice),
        #[cfg(feature = "metal")]
        BackendName::Metal => Device::metal(DeviceKind::DefaultDevice),
        #[cfg(feature = "cuda")]
        BackendName::Cuda => Device::cuda(0),
        #[cfg(feature = "rocm")]
        BackendName::Rocm => Device::rocm(0),
        #[allow(unreachable_patterns, reason = "reachable unless every backend is compiled in")]
        name => unreachable!("backend `{name}` is not compiled in, which was checked"),
    }
}

/// The adapters a backend finds on this machine, in its own order; empty for backends without any and for those not in
/// this build. LibTorch lists its CUDA cards.
fn adapters(name: BackendName) -> Vec<Device> {
    match name {
        #[cfg(feature = "tch")]
        BackendName::Tch => Device::enumerate(DeviceType::LibTorch).into_vec(),
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => Device::enumerate(DeviceType::Wgpu).into_vec(),
        #[cfg(feature = "vulkan")]
        BackendName::Vulkan => Device::enumerate(DeviceType::Vulkan).into_vec(),
        #[cfg(feature = "metal")]
        BackendName::Metal => Device::enumerate(DeviceType::Metal).into_vec(),
        #[cfg(feature = "cuda")]
        BackendName::Cuda => Device::enumerate(DeviceType::Cuda).into_vec(),
        #[cfg(feature = "rocm")]
        BackendName::Rocm => Device::enumerate(DeviceType::Rocm).into_vec(),
        _ => Vec::new(),
    }
}

#[cfg(all(feature = "tch", target_os = "macos"))]
fn open_mps(_: &Selector) -> Result<Device, DeviceError> {
    Ok(libtorch_mps())
}

#[cfg(not(all(feature = "tch", target_os = "macos")))]
fn open_mps(selector: &Selector) -> Result<Device, DeviceError> {
    Err(DeviceError::NoAdapter { selector: selector.to_string(), found: "MPS exists on macOS alone".to_owned() })
}

#[cfg(feature = "tch")]
#[allow(deprecated, reason = "Burn is pinned to the last release with LibTorch")]
fn libtorch_cpu() -> Device {
    Device::libtorch()
}

#[cfg(all(feature = "tch", target_os = "macos"))]
#[allow(deprecated, reason = "Burn is pinned to the last release with LibTorch")]
fn libtorch_mps() -> Device {
    Device::libtorch_mps()
}

#[cfg(test)]
mod tests {
    use super::*;
    use BackendName::{Cuda, Flex, Tch, Vulkan};

    #[test]
    fn without_a_selector_the_backend_that_was_built_in_on_purpose_is_taken() {
        assert_eq!(default_backend(&[Flex]), Some(Flex));
        assert_eq!(default_backend(&[Flex, Tch]), Some(Tch));
        assert_eq!(default_backend(&[Flex, Tch, Cuda]), Some(Flex));
        assert_eq!(default_backend(&[Vulkan, Cuda]), Some(Vulkan));
        assert_eq!(default_backend(&[]), None);
    }

    #[test]
    fn an_unknown_backend_is_answered_with_the_known_ones() {
        let error = open(Some("tourch")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown backend `tourch`; expected one of flex, tch, wgpu, vulkan, metal, cuda, rocm"
        );
    }

    #[cfg(all(feature = "flex", not(any(feature = "tch", feature = "rocm"))))]
    #[test]
    fn a_backend_that_is_not_compiled_in_is_answered_with_the_command_that_builds_it() {
        let error = open(Some("tch:cuda:0")).unwrap_err().to_string();
        assert!(error.contains("`tch` is not compiled into this program, which has `flex`"), "{error}");
        assert!(error.ends_with("`cargo xtask <subcommand> --backend tch` builds it in"), "{error}");
        assert!(matches!(open(Some("rocm")), Err(DeviceError::NotCompiled { .. })));
    }

    #[cfg(feature = "flex")]
    #[test]
    fn flex_opens_with_and_without_autodiff_under_one_name() {
        let device = open(Some("flex")).unwrap();
        assert_eq!(backend_of(&device), "flex");
        assert_eq!(backend_of(&device.autodiff()), "flex");
        assert!(compiled().contains(&Flex));
    }
}
