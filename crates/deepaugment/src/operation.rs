//! DeepAugment as steps of a training policy: `augmix|noise2net|noise2net+augmix`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use image::RgbImage;
use robustify_augment::{AugmentError, Augmentation};
use robustify_report::digest;
use robustify_rng::Key;

use crate::{Autoencoder, Cae, CaeConfig, DeepAugment, DeepAugmentError, Edsr, EdsrConfig, Network, Noise2Net};

/// Grows by one whenever a step gives other pixels for the same key, so that what was cached with it is made anew.
const REVISION: u32 = 1;

/// Makes the steps that a policy cannot make by itself, for [`Policy::parse_with`](robustify_augment::Policy::parse_with); the
/// networks run on `device`.
///
/// | step | parameters, with their defaults |
/// |---|---|
/// | `noise2net` | `blocks=4`, `hidden=16`, `low=0.375`, `high=0.75` (range of the factor of a block's output) |
/// | `autoencoder` | `weights=FILE`, as [`Autoencoder::save`] writes it; required |
/// | `cae` | `weights=FILE`, the authors' weights as safetensors; required |
/// | `edsr` | `weights=FILE`, the authors' weights as safetensors; required |
///
/// The name of a file may contain anything but a comma and unbalanced brackets. Files are read, and compared with the network,
/// when the step is made; after that nothing can go wrong with it.
///
/// ```
/// use robustify_augment::Policy;
/// use robustify_deepaugment::{Key, operations};
///
/// let device = robustify_device::open(Some("flex"))?;
/// let policy = Policy::parse_with("augmix(severity=3)|noise2net|noise2net+augmix", &operations(&device))?;
/// let image = image::RgbImage::from_fn(16, 12, |x, y| image::Rgb([16 * x as u8, 20 * y as u8, 128]));
/// assert_eq!(policy.apply(&image, Key::new(0, "training")).dimensions(), (16, 12));
///
/// let error = Policy::parse_with("edsr(weights=absent.safetensors)", &operations(&device)).unwrap_err();
/// assert!(error.to_string().contains("absent.safetensors"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn operations(
    device: &Device,
) -> impl Fn(&str, &str) -> Option<Result<Arc<dyn Augmentation>, AugmentError>> + use<> {
    let device = device.clone();
    move |name, arguments| {
        let made = Settings::read(name, arguments)?
            .and_then(|settings| Operation::new(settings, &device).map_err(Fault::from));
        let made = made.map(|made| Arc::new(made) as Arc<dyn Augmentation>);
        Some(made.map_err(|Fault(problem)| fault(name, arguments, problem)))
    }
}

/// Whether a step is one of [`operations`], and its arguments are right; no file is opened. For
/// [`Policy::check`](robustify_augment::Policy::check).
pub fn check_operation(name: &str, arguments: &str) -> Option<Result<(), AugmentError>> {
    let settings = Settings::read(name, arguments)?;
    Some(settings.map(drop).map_err(|Fault(problem)| fault(name, arguments, problem)))
}

fn fault(name: &str, arguments: &str, problem: String) -> AugmentError {
    let step = if arguments.is_empty() { name.to_owned() } else { format!("{name}({arguments})") };
    AugmentError::Step { step, problem }
}

/// What is wrong with a step.
struct Fault(String);

impl From<DeepAugmentError> for Fault {
    fn from(error: DeepAugmentError) -> Self {
        Self(error.to_string())
    }
}

/// What the text of a step says.
#[derive(Clone, Debug, PartialEq)]
enum Settings {
    Noise2Net(Noise2Net),
    File(Kind, PathBuf),
}

/// A network whose weights are in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Autoencoder,
    Cae,
    Edsr,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Autoencoder => "autoencoder",
            Self::Cae => "cae",
            Self::Edsr => "edsr",
        }
    }
}

impl Settings {
    /// Nothing if no step has this name.
    fn read(name: &str, arguments: &str) -> Option<Result<Self, Fault>> {
        let kind = match name {
            "noise2net" => return Some(noise2net(arguments).map(Self::Noise2Net)),
            "autoencoder" => Kind::Autoencoder,
            "cae" => Kind::Cae,
            "edsr" => Kind::Edsr,
            _ => return None,
        };
        Some(file(name, arguments).map(|path| Self::File(kind, path)))
    }
}

/// Names and values between commas.
fn pairs(arguments: &str) -> impl Iterator<Item = Result<(&str, &str), Fault>> {
    arguments.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(|pair| {
        let pair_of = pair.split_once('=').ok_or_else(|| Fault(format!("`{pair}` is not of the form name=value")))?;
        Ok((pair_of.0.trim(), pair_of.1.trim()))
    })
}

fn noise2net(arguments: &str) -> Result<Noise2Net, Fault> {
    let mut net = Noise2Net::default();
    for pair in pairs(arguments) {
        let (name, value) = pair?;
        let wrong = || Fault(format!("`{name}={value}`: not a number of the right kind"));
        match name {
            "blocks" => net.blocks = value.parse().map_err(|_| wrong())?,
            "hidden" => net.hidden = value.parse().map_err(|_| wrong())?,
            "low" => net.epsilon[0] = value.parse().map_err(|_| wrong())?,
            "high" => net.epsilon[1] = value.parse().map_err(|_| wrong())?,
            _ => return Err(Fault(format!("noise2net has no `{name}`; it has blocks, hidden, low, high"))),
        }
    }
    let [low, high] = net.epsilon;
    let rules = [
        ((1..=32).contains(&net.blocks), "blocks must be 1 to 32"),
        ((1..=256).contains(&net.hidden), "hidden must be 1 to 256"),
        (0.0 <= low && low <= high && high <= 10.0, "low and high must be 0 to 10, low first"),
    ];
    match rules.iter().find(|(kept, _)| !kept) {
        Some((_, rule)) => Err(Fault((*rule).to_owned())),
        None => Ok(net),
    }
}

fn file(step: &str, arguments: &str) -> Result<PathBuf, Fault> {
    let mut file = None;
    for pair in pairs(arguments) {
        let (name, value) = pair?;
        match name {
            "weights" if !value.is_empty() => file = Some(PathBuf::from(value)),
            "weights" => {}
            _ => return Err(Fault(format!("{step} has no `{name}`; it has weights"))),
        }
    }
    file.ok_or_else(|| Fault(format!("the file of its weights is missing; write {step}(weights=FILE)")))
}

/// A step that is ready to be used.
#[derive(Debug)]
struct Operation {
    settings: Settings,
    network: DeepAugment,
    /// SHA-256 of the weights' file.
    digest: Option<String>,
}

impl Operation {
    fn new(settings: Settings, device: &Device) -> Result<Self, DeepAugmentError> {
        let (network, digest) = match &settings {
            Settings::Noise2Net(net) => (DeepAugment::noise2net(net.clone(), device), None),
            Settings::File(kind, path) => {
                let network = network(*kind, path, device)?;
                let digest =
                    digest::of_file(path).map_err(|source| DeepAugmentError::Io { path: path.clone(), source })?;
                (DeepAugment::perturbed(network), Some(digest))
            }
        };
        Ok(Self { settings, network, digest })
    }
}

/// Reads a network. Weights that are no numbers would make black pictures without a word.
fn network(kind: Kind, path: &Path, device: &Device) -> Result<Network, DeepAugmentError> {
    let network: Network = match kind {
        Kind::Autoencoder => Autoencoder::load(path, device)?.into(),
        Kind::Cae => Cae::load(&CaeConfig::default(), path, device)?.into(),
        Kind::Edsr => Edsr::load(&EdsrConfig::default(), path, device)?.into(),
    };
    let unusable = network.layers().state.iter().find(|(_, entry)| entry.values.iter().any(|value| !value.is_finite()));
    match unusable {
        None => Ok(network),
        Some((name, _)) => {
            let faults = vec![format!("tensor {name} has values that are no finite numbers")];
            Err(DeepAugmentError::Mismatch { origin: path.display().to_string(), faults })
        }
    }
}

impl Augmentation for Operation {
    fn name(&self) -> &str {
        match &self.settings {
            Settings::Noise2Net(_) => "noise2net",
            Settings::File(kind, _) => kind.name(),
        }
    }

    fn arguments(&self) -> String {
        let net = match &self.settings {
            Settings::File(_, path) => return format!("weights={}", path.display()),
            Settings::Noise2Net(net) => net,
        };
        let usual = Noise2Net::default();
        let all = [
            ("blocks", net.blocks.to_string(), net.blocks != usual.blocks),
            ("hidden", net.hidden.to_string(), net.hidden != usual.hidden),
            ("low", net.epsilon[0].to_string(), net.epsilon[0] != usual.epsilon[0]),
            ("high", net.epsilon[1].to_string(), net.epsilon[1] != usual.epsilon[1]),
        ];
        let shown = all.iter().filter(|(_, _, other)| *other).map(|(name, value, _)| format!("{name}={value}"));
        shown.collect::<Vec<_>>().join(",")
    }

    fn identity(&self) -> String {
        let what = self.digest.clone().unwrap_or_else(|| self.arguments());
        format!("{} {REVISION} {what}", self.name())
    }

    fn apply(&self, image: &RgbImage, key: Key) -> RgbImage {
        // Files and settings were checked before: what remains is an image without pixels, and it stays as it is.
        self.network.one(image, key).unwrap_or_else(|_| image.clone())
    }
}

#[cfg(test)]
mod tests {
    use robustify_augment::{Corruption, Policy};

    use super::*;
    use crate::testing;
    use crate::{AutoencoderConfig, Key};

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 9) as u8, (y * 11) as u8, (x * y) as u8]))
    }

    /// A file of a tiny autoencoder, and the folder that it goes with.
    fn weights(device: &Device) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own+net.safetensors");
        Autoencoder::new(&AutoencoderConfig { width: 6, code: 3 }, 1, device).unwrap().save(&path).unwrap();
        (folder, path)
    }

    #[test]
    fn a_step_is_deep_augment_with_a_key_of_its_own() {
        let device = testing::device();
        let (_folder, path) = weights(&device);
        let operations = operations(&device);
        let policy = |text: &str| Policy::parse_with(text, &operations).unwrap();
        let file = format!("autoencoder(weights={})", path.display());
        for text in ["noise2net(blocks=1,hidden=2)", &file] {
            let policy = policy(text);
            assert_eq!((policy.to_string().as_str(), policy.ops().len()), (text, 1));
            assert!(Corruption::every().all(|corruption| !policy.ops().contains(&corruption.name())));
            let image = picture(9, 7);
            let [one, two] = [1, 2].map(|id| policy.apply(&image, Key::new(id, "step")));
            assert!(one != image && one != two, "{text}");
            assert_eq!(one, policy.apply(&image, Key::new(1, "step")), "{text}");
            let empty = RgbImage::new(0, 4);
            assert_eq!(policy.apply(&empty, Key::new(1, "step")), empty, "{text}");
        }
        // Two of a kind in one chain are different networks, and a step of this crate draws the same with or without one.
        let twice = policy("noise2net(blocks=1,hidden=2)+noise2net(blocks=1,hidden=2)");
        let once = policy("noise2net(blocks=1,hidden=2)");
        let key = Key::new(3, "chain");
        assert_ne!(twice.apply(&picture(9, 7), key), once.apply(&once.apply(&picture(9, 7), key), key));
    }

    #[test]
    fn other_weights_are_another_policy_under_the_same_text() {
        let device = testing::device();
        let (_folder, path) = weights(&device);
        let text = format!("noise2net|augmix|autoencoder(weights={})", path.display());
        let read = || Policy::parse_with(&text, &operations(&device)).unwrap();
        let before = read();
        assert_eq!(before, read());
        assert_eq!(before.identities().len(), 2);
        Autoencoder::new(&AutoencoderConfig { width: 6, code: 3 }, 2, &device).unwrap().save(&path).unwrap();
        assert_ne!(before, read());
        assert_ne!(before.identities(), read().identities());
        assert_eq!(before.to_string(), read().to_string());
    }

    #[test]
    fn what_is_wrong_is_said_when_a_policy_is_read() {
        let device = testing::device();
        let folder = tempfile::tempdir().unwrap();
        let broken = folder.path().join("broken.safetensors");
        std::fs::write(&broken, "no tensors").unwrap();
        let broken = broken.display().to_string();
        let by_grammar = [
            ("noise2net(hidden=0)".to_owned(), "hidden must be 1 to 256"),
            ("noise2net(low=1,high=0.5)".to_owned(), "low first"),
            ("noise2net(depth=3)".to_owned(), "it has blocks, hidden, low, high"),
            ("noise2net(blocks=x)".to_owned(), "`blocks=x`"),
            ("cae".to_owned(), "cae(weights=FILE)"),
            ("edsr(weights=)".to_owned(), "edsr(weights=FILE)"),
            ("edsr(file=a)".to_owned(), "edsr has no `file`"),
            ("noise3net".to_owned(), "unknown step `noise3net`"),
        ];
        for (text, part) in &by_grammar {
            let error = Policy::check(text, &check_operation).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert_eq!(error, Policy::parse_with(text, &operations(&device)).unwrap_err().to_string());
        }
        for text in [format!("cae(weights={broken})"), format!("edsr(weights={broken})"), "cae(weights=absent)".into()]
        {
            assert_eq!(Policy::check(&text, &check_operation), Ok(()));
            let error = Policy::parse_with(&text, &operations(&device)).unwrap_err().to_string();
            let file = if text.contains("absent") { "absent" } else { &broken };
            assert!(error.contains(&format!("{file}: ")), "{text}: {error}");
        }
        // A step of the crate augment is checked by its own rules.
        assert!(Policy::check("augmix(width=99)|noise2net", &check_operation).is_err());
        let error = "noise2net".parse::<Policy>().unwrap_err().to_string();
        assert!(error.contains("robustify-deepaugment") && error.contains("`train`"), "{error}");
    }
}
