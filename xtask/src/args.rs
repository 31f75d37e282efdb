//! The command line: which subcommand, which backend, and everything else untouched.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// The backends, which are also cargo features of `robustify` and `robustify-device`; `tidy` compares the three lists.
pub const BACKENDS: [&str; 7] = ["flex", "tch", "wgpu", "vulkan", "metal", "cuda", "rocm"];

/// The backend built without being asked for.
const DEFAULT_BACKEND: &str = "flex";

/// The feature that downloads what `hf-hub:` names.
pub const HUB: &str = "hub";

/// A parsed command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The first argument that is no option; `help` where help was asked for before it.
    pub subcommand: Option<String>,
    /// What `--backend` named.
    pub backend: Option<Backend>,
    /// What `--torch-venv` named.
    pub torch_venv: Option<PathBuf>,
    /// Whether `--hub` stood there.
    pub hub: bool,
    /// The other arguments, in order.
    pub rest: Vec<String>,
}

/// A backend, perhaps with a place on it: `tch:cuda:0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The whole selector, which the program understands.
    pub selector: String,
    /// Its name alone, which cargo understands.
    pub name: &'static str,
}

impl Request {
    /// Takes `--backend`, `--torch-venv` and `--hub` out of the arguments, wherever they stand before a `--`.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut args = args.into_iter().map(|arg| {
            arg.into_string().map_err(|arg| anyhow::anyhow!("argument {arg:?} is not UTF-8; rename what it points to"))
        });
        let mut request = Self::default();
        while let Some(arg) = args.next().transpose()? {
            let (flag, inline) = match arg.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            match flag {
                "--" => {
                    request.rest.push(arg);
                    request.rest.extend(args.by_ref().collect::<Result<Vec<_>>>()?);
                }
                "--backend" => {
                    let value = value(flag, inline, &mut args)?;
                    if request.backend.replace(Backend::parse(&value)?).is_some() {
                        bail!("--backend is given twice; a run has one backend");
                    }
                }
                "--torch-venv" => {
                    let value = value(flag, inline, &mut args)?;
                    if request.torch_venv.replace(PathBuf::from(value)).is_some() {
                        bail!("--torch-venv is given twice");
                    }
                }
                "--hub" if inline.is_some() => bail!("--hub takes no value"),
                "--hub" => request.hub = true,
                _ if request.subcommand.is_some() => request.rest.push(arg),
                "-h" | "--help" => request.subcommand = Some("help".to_owned()),
                _ if arg.starts_with('-') => {
                    bail!("`{arg}` stands before the subcommand; `cargo xtask help` lists both")
                }
                _ => request.subcommand = Some(arg),
            }
        }
        Ok(request)
    }

    /// The cargo arguments that build the wanted backend and the Hugging Face hub in.
    ///
    /// flex stays in beside any other backend: what must not depend on the hardware is computed on it, the conformance
    /// tests compare with it, and `bench-models` measures against it. It costs one more crate to build.
    pub fn features(&self) -> Vec<String> {
        let backend = self.other_backend().map(|backend| backend.name);
        let features: Vec<&str> = backend.into_iter().chain(self.hub.then_some(HUB)).collect();
        if features.is_empty() { Vec::new() } else { vec!["--features".to_owned(), features.join(",")] }
    }

    /// The backend, where it is another than the default.
    pub fn other_backend(&self) -> Option<&Backend> {
        self.backend.as_ref().filter(|backend| backend.name != DEFAULT_BACKEND)
    }

    /// Refuses arguments on behalf of subcommands that take none.
    pub fn expect_no_arguments(&self) -> Result<()> {
        match self.rest.first() {
            Some(arg) => bail!("`{}` takes no argument `{arg}`", self.subcommand.as_deref().unwrap_or_default()),
            None => Ok(()),
        }
    }

    /// Refuses a backend, and the hub, on behalf of subcommands for which they mean nothing.
    pub fn expect_no_backend(&self) -> Result<()> {
        if self.hub {
            bail!("`{}` asks no hub; leave `--hub` out", self.subcommand.as_deref().unwrap_or_default());
        }
        match &self.backend {
            Some(backend) => bail!(
                "`{}` does not depend on a backend; leave `--backend {}` out",
                self.subcommand.as_deref().unwrap_or_default(),
                backend.selector
            ),
            None => Ok(()),
        }
    }
}

impl Backend {
    fn parse(selector: &str) -> Result<Self> {
        let name = selector.split(':').next().unwrap_or_default();
        let known = BACKENDS.into_iter().find(|backend| *backend == name);
        let name =
            known.with_context(|| format!("unknown backend `{name}`; expected one of {}", BACKENDS.join(", ")))?;
        Ok(Self { selector: selector.to_owned(), name })
    }
}

fn value(flag: &str, inline: Option<String>, args: &mut impl Iterator<Item = Result<String>>) -> Result<String> {
    match inline {
        Some(value) => Ok(value),
        None => args.next().transpose()?.with_context(|| format!("{flag} needs a value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request> {
        Request::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_backend_is_found_wherever_it_stands_and_the_rest_is_untouched() {
        for line in [
            "train --backend tch:cuda:0 --seeds 3 lr=0.1",
            "--backend=tch:cuda:0 train --seeds 3 lr=0.1",
            "train --seeds 3 lr=0.1 --backend=tch:cuda:0",
        ] {
            let request = parse(line).unwrap();
            assert_eq!(request.subcommand.as_deref(), Some("train"), "{line}");
            assert_eq!(request.backend, Some(Backend { selector: "tch:cuda:0".into(), name: "tch" }), "{line}");
            assert_eq!(request.rest, ["--seeds", "3", "lr=0.1"], "{line}");
            assert_eq!(request.features(), ["--features", "tch"], "{line}");
        }
    }

    #[test]
    fn flex_is_built_without_asking() {
        assert!(parse("train").unwrap().features().is_empty());
        let request = parse("train --backend flex").unwrap();
        assert!(request.features().is_empty());
        assert!(request.other_backend().is_none());
    }

    #[test]
    fn the_hub_is_a_feature_beside_the_backend() {
        let request = parse("train --hub lr=0.1").unwrap();
        assert_eq!(
            (request.features(), request.rest),
            (vec!["--features".into(), "hub".into()], vec!["lr=0.1".into()])
        );
        assert_eq!(parse("--hub train --backend tch").unwrap().features(), ["--features", "tch,hub"]);
    }

    #[test]
    fn nothing_behind_a_double_dash_is_read() {
        let request = parse("test -- --backend tch").unwrap();
        assert_eq!((request.backend, request.rest), (None, vec!["--".into(), "--backend".into(), "tch".into()]));
    }

    #[test]
    fn help_is_ours_before_the_subcommand_and_the_programs_behind_it() {
        assert_eq!(parse("--help").unwrap().subcommand.as_deref(), Some("help"));
        assert_eq!(parse("train --help").unwrap().rest, ["--help"]);
        assert_eq!(parse("").unwrap(), Request::default());
    }

    #[test]
    fn faults_name_the_argument() {
        let fault = |line| parse(line).unwrap_err().to_string();
        assert_eq!(
            fault("train --backend torch"),
            "unknown backend `torch`; expected one of flex, tch, wgpu, vulkan, metal, cuda, rocm"
        );
        assert_eq!(fault("train --backend"), "--backend needs a value");
        assert_eq!(fault("train --backend flex --backend tch"), "--backend is given twice; a run has one backend");
        assert!(fault("--seeds 3 train").contains("`--seeds` stands before the subcommand"));
    }
}
