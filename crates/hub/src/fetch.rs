//! Downloads from the hub, once. What the cache has is taken without asking; so a run that is repeated reads the same bits,
//! although a branch may have moved on.

use std::path::PathBuf;

use anyhow::{Context, anyhow, ensure};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use robustify_watch::Watch;
use robustify_zoo::weights::{HubFolder, HubKind};
use serde::Deserialize;

use crate::client::Client;
use crate::place::Place;
use crate::transfer::Source;
use crate::{Environment, HubName};

/// The local copy of a repository's model, as a folder, or of one file.
///
/// # Errors
/// What the hub refuses or does not have, and a copy that is not what the hub says it is.
pub fn obtain(name: &HubName, kind: HubKind, environment: &Environment, watch: &dyn Watch) -> anyhow::Result<PathBuf> {
    let place = Place::of(environment)?;
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
    match (download(name, kind, &place, &cached, watch), copy) {
        (Err(Failure::Unreachable(error)), Some(copy)) => {
            watch.warn(&format!("{name}: {error:#}; taken from the cache"));
            Ok(copy)
        }
        (Err(Failure::Unreachable(error) | Failure::Other(error)), _) => Err(error.context(name.to_string())),
        (Ok(path), _) => {
            watch.say(&format!("{name}: in {}", path.display()));
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
    watch: &dyn Watch,
) -> Result<PathBuf, Failure> {
    let client = place.client();
    let about = repository(&client, name).map_err(|error| explained(error, name, place))?;
    let has = |file: &str| about.siblings.iter().any(|sibling| sibling.rfilename == file);
    let files: Vec<&str> = match &name.file {
        Some(file) => vec![file.as_str()],
        None => HubFolder::files(kind, has).map(Vec::from).unwrap_or_default(),
    };
    if files.is_empty() || !files.iter().all(|file| has(file)) {
        let there: Vec<&str> = about.siblings.iter().map(|sibling| sibling.rfilename.as_str()).take(20).collect();
        let wanted = name.file.as_deref().unwrap_or("model of timm or open_clip (a configuration beside its weights)");
        let there = if there.is_empty() { "it is empty".into() } else { format!("its files are {}", there.join(", ")) };
        return Err(anyhow!("the repository has no {wanted}; {there}").into());
    }
    is_commit(&about.sha)?;
    // All files of one commit, whatever becomes of the branch meanwhile.
    let cache = cached.cache.repo(repo(name, &about.sha));
    let snapshot = cache.pointer_path(&about.sha);
    let source = Source { client: &client, repository: &name.repository, sha: &about.sha, cache, watch };
    for file in &files {
        if !snapshot.join(file).exists() {
            source.download(file).map_err(|error| explained(error, name, place))?;
        }
    }
    let kept = cached.repo.create_ref(&about.sha);
    kept.with_context(|| format!("{}: the cache cannot be written", place.cache.display()))?;
    Ok(name.file.as_ref().map_or(snapshot.clone(), |file| snapshot.join(file)))
}

/// What the hub says of a repository. Source: `GET /api/models/{repo_id}/revision/{revision}` of its API.
#[derive(Deserialize)]
struct About {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

fn repository(client: &Client, name: &HubName) -> anyhow::Result<About> {
    let path = format!("api/models/{}/revision/{}", name.repository, revision(name).replace('/', "%2F"));
    let mut response = client.get(&path, 0, |_| ())?;
    let text = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string()?;
    serde_json::from_str(&text).map_err(Into::into)
}

/// Bytes of a description; the longest of repositories with thousands of files take some hundred thousand.
const LONGEST_ANSWER: u64 = 64 << 20;

/// What the hub names a commit becomes a folder's name.
fn is_commit(sha: &str) -> anyhow::Result<()> {
    let sound = sha.len() >= 7 && sha.chars().all(|c| c.is_ascii_hexdigit());
    ensure!(sound, "the hub names the commit `{}`, which is none", sha.escape_debug());
    Ok(())
}

/// What an answer of the hub means, and what to do about it.
fn explained(error: anyhow::Error, name: &HubName, place: &Place) -> Failure {
    let endpoint = &place.endpoint;
    let page = format!("{endpoint}/{}", name.repository);
    let error = match error.downcast::<serde_json::Error>() {
        Ok(error) => {
            return Failure::Other(anyhow!("{endpoint} does not answer as the Hugging Face hub does: {error}"));
        }
        Err(error) => error,
    };
    let request = match error.downcast::<ureq::Error>() {
        Ok(request) => request,
        // A file of the cache, or one that is not what it should be: the error says which.
        Err(error) => return Failure::Other(error),
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
        error @ (ureq::Error::StatusCode(_) | ureq::Error::TooManyRedirects | ureq::Error::BodyExceedsLimit(_)) => {
            Failure::Other(anyhow!("{endpoint} does not answer as the Hugging Face hub does: {error}"))
        }
        error => Failure::Unreachable(anyhow!(
            "{endpoint} cannot be reached ({error}); HF_ENDPOINT may name a mirror, and the path of a file that you downloaded yourself \
             can stand here as well"
        )),
    }
}
