//! Downloads from the hub, once. What the cache has is taken without asking; so a run that is repeated reads the same bits,
//! although a branch may have moved on.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use hf_hub::api::sync::{Api, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use robustify_zoo::weights::{HubFolder, HubKind};

use super::HubName;
use super::place::Place;
use crate::console::{Console, Progress};
use crate::digest;

/// The local copy of a repository's model, as a folder, or of one file.
///
/// # Errors
/// What the hub refuses or does not have, and a copy that is not what the hub says it is.
pub fn obtain(name: &HubName, kind: HubKind, console: &Console) -> anyhow::Result<PathBuf> {
    let place = Place::from_env()?;
    let cached = Cached::open(&place, name);
    let copy = cached.find(kind);
    if let Some((path, true)) = &copy {
        return Ok(path.clone());
    }
    let copy = copy.map(|(path, _)| path);
    if place.offline {
        return copy.with_context(|| {
            format!("{name}: HF_HUB_OFFLINE is set, and the cache in {} does not have it", place.cache.display())
        });
    }
    match (download(name, kind, &place, &cached, console), copy) {
        (Err(Failure::Unreachable(error)), Some(copy)) => {
            console.warn(&format!("{name}: {error:#}; taken from the cache"));
            Ok(copy)
        }
        (Err(Failure::Unreachable(error) | Failure::Other(error)), _) => Err(error.context(name.to_string())),
        (Ok(path), _) => {
            console.say(&format!("{name}: in {}", path.display()));
            Ok(path)
        }
    }
}

/// Why there is no download: whether the hub answered makes a difference.
enum Failure {
    Unreachable(anyhow::Error),
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// What the cache has of a repository.
struct Cached<'a> {
    name: &'a HubName,
    cache: Cache,
    repo: CacheRepo,
}

impl<'a> Cached<'a> {
    fn open(place: &Place, name: &'a HubName) -> Self {
        let cache = Cache::new(place.cache.clone());
        let repo = cache.repo(repo(name, revision(name)));
        Self { name, cache, repo }
    }

    fn file(&self, file: &str) -> Option<PathBuf> {
        // Other programs write no reference for what was asked for by its commit.
        let by_commit = || Some(self.repo.pointer_path(revision(self.name)).join(file)).filter(|path| path.exists());
        self.repo.get(file).or_else(by_commit)
    }

    /// The copy, and whether it is what the hub's files would be chosen for.
    fn find(&self, kind: HubKind) -> Option<(PathBuf, bool)> {
        if let Some(file) = &self.name.file {
            return self.file(file).map(|path| (path, true));
        }
        let [config, _] = HubFolder::files(kind, |file| self.file(file).is_some())?;
        let folder = self.file(config)?.parent()?.to_owned();
        Some((folder, config == kind.config()))
    }
}

fn repo(name: &HubName, revision: &str) -> Repo {
    Repo::with_revision(name.repository.clone(), RepoType::Model, revision.to_owned())
}

fn revision(name: &HubName) -> &str {
    name.revision.as_deref().unwrap_or("main")
}

fn download(
    name: &HubName,
    kind: HubKind,
    place: &Place,
    cached: &Cached<'_>,
    console: &Console,
) -> Result<PathBuf, Failure> {
    let api = place.api()?;
    let about = api.repo(repo(name, revision(name))).info().map_err(|error| explained(error, name, place))?;
    let has = |file: &str| about.siblings.iter().any(|sibling| sibling.rfilename == file);
    let files: Vec<&str> = match &name.file {
        Some(file) => vec![file.as_str()],
        None => HubFolder::files(kind, has).map(Vec::from).unwrap_or_default(),
    };
    if files.is_empty() || !files.iter().all(|file| has(file)) {
        let there: Vec<&str> = about.siblings.iter().map(|sibling| sibling.rfilename.as_str()).take(20).collect();
        let wanted = name.file.as_deref().unwrap_or("model of timm or open_clip (a configuration beside its weights)");
        return Err(anyhow!("the repository has no {wanted}; its files are {}", there.join(", ")).into());
    }
    is_commit(&about.sha)?;
    // All files of one commit, whatever becomes of the branch meanwhile.
    let pinned = repo(name, &about.sha);
    let snapshot = cached.cache.repo(pinned.clone()).pointer_path(&about.sha);
    let source = Source { api: &api, repo: api.repo(pinned.clone()), cache: cached.cache.repo(pinned), console };
    for file in &files {
        if !snapshot.join(file).exists() {
            // A link whose file was deleted would be in the way.
            let _ = std::fs::remove_file(snapshot.join(file));
            source.download(file).map_err(|error| match error.downcast::<ApiError>() {
                Ok(error) => explained(error, name, place),
                Err(error) => Failure::Other(error),
            })?;
        }
    }
    let kept = cached.repo.create_ref(&about.sha);
    kept.with_context(|| format!("{}: the cache cannot be written", place.cache.display()))?;
    Ok(name.file.as_ref().map_or(snapshot.clone(), |file| snapshot.join(file)))
}

/// What the hub names a commit becomes a folder's name.
fn is_commit(sha: &str) -> anyhow::Result<()> {
    let sound = sha.len() >= 7 && sha.chars().all(|c| c.is_ascii_hexdigit());
    ensure!(sound, "the hub names the commit `{}`, which is none", sha.escape_debug());
    Ok(())
}

/// One commit of a repository.
struct Source<'a> {
    api: &'a Api,
    repo: ApiRepo,
    cache: CacheRepo,
    console: &'a Console,
}

impl Source<'_> {
    /// Downloads a file into the cache. It stays there if it has the size that the hub says, and, where the hub says it, the
    /// checksum.
    fn download(&self, file: &str) -> anyhow::Result<()> {
        let about = self.api.metadata(&self.repo.url(file))?;
        let part = self.cache.blob_path(about.etag()).with_extension("part");
        // What was complete when a former download was killed cannot be continued.
        if part.metadata().is_ok_and(|part| part.len() >= about.size() as u64) {
            std::fs::remove_file(&part).with_context(|| part.display().to_string())?;
        }
        let path = self.repo.download_with_progress(file, Bar { console: self.console, progress: None, bytes: 0 })?;
        let fault = |path: &Path| -> anyhow::Result<Option<String>> {
            let found = path.metadata()?.len();
            if found != about.size() as u64 {
                return Ok(Some(format!("{found} bytes arrived instead of {}", about.size())));
            }
            // Large files are named by their SHA-256, small ones by what git calls them.
            let named = about.etag().len() == 64;
            Ok((named && digest::of_file(path)? != about.etag())
                .then(|| "what arrived has another checksum".to_owned()))
        };
        if let Some(fault) = fault(&path).with_context(|| path.display().to_string())? {
            let blob = path.canonicalize().unwrap_or_else(|_| path.clone());
            for path in [path, blob] {
                // The link and what it points to may be one file.
                let _ = std::fs::remove_file(path);
            }
            bail!("{file}: {fault}; try again");
        }
        Ok(())
    }
}

/// What an answer of the hub means, and what to do about it.
fn explained(error: ApiError, name: &HubName, place: &Place) -> Failure {
    let endpoint = &place.endpoint;
    let page = format!("{endpoint}/{}", name.repository);
    let request = match error {
        ApiError::RequestError(request) => *request,
        ApiError::IoError(error) => {
            let cache = place.cache.display();
            return Failure::Other(anyhow!(
                "the download broke off, or the cache in {cache} cannot be written ({error}); the same command continues it"
            ));
        }
        ApiError::LockAcquisition(lock) => {
            return Failure::Other(anyhow!(
                "another program is downloading the same file and holds {}; wait for it",
                lock.display()
            ));
        }
        error => return Failure::Other(anyhow!("{endpoint} does not answer as the Hugging Face hub does: {error}")),
    };
    match request {
        ureq::Error::StatusCode(status @ (401 | 403)) => Failure::Other(anyhow!(
            "the hub refuses it (status {status}): there is no such repository, or it is private or gated; {page} has its \
             conditions, and {}",
            if place.has_token() { "the token in use has no access" } else { "HF_TOKEN is not set" }
        )),
        ureq::Error::StatusCode(404) => {
            Failure::Other(anyhow!("there is no repository {page} with a revision `{}` (status 404)", revision(name)))
        }
        ureq::Error::StatusCode(429) => {
            Failure::Unreachable(anyhow!("{endpoint} has had too many requests (status 429); try again later"))
        }
        ureq::Error::StatusCode(status @ 500..) => {
            Failure::Unreachable(anyhow!("{endpoint} is out of order (status {status}); try again later"))
        }
        error @ (ureq::Error::StatusCode(_) | ureq::Error::Json(_)) => {
            Failure::Other(anyhow!("{endpoint} does not answer as the Hugging Face hub does: {error}"))
        }
        error => Failure::Unreachable(anyhow!(
            "{endpoint} cannot be reached ({error}); HF_ENDPOINT names another address, and a downloaded file's path does as well"
        )),
    }
}

/// Shows a download.
struct Bar<'a> {
    console: &'a Console,
    progress: Option<Progress>,
    bytes: usize,
}

impl Bar<'_> {
    const MEGABYTE: usize = 1_000_000;
}

impl hf_hub::api::Progress for Bar<'_> {
    /// Is called once more when the transfer begins. A configuration is there in no time and shows nothing.
    fn init(&mut self, size: usize, filename: &str) {
        self.bytes = 0;
        if self.progress.is_none() && size >= Self::MEGABYTE {
            let total = size.div_ceil(Self::MEGABYTE);
            self.progress = Some(self.console.progress(&format!("{filename}, MB"), total));
        }
    }

    fn update(&mut self, size: usize) {
        self.bytes += size;
        if let Some(progress) = &mut self.progress {
            progress.set(self.bytes / Self::MEGABYTE, "");
        }
    }

    fn finish(&mut self) {
        if let Some(progress) = &self.progress {
            progress.finish(&format!("{:.1}", self.bytes as f64 / Self::MEGABYTE as f64));
        }
    }
}
