//! One file from the hub into the cache of Hugging Face's programs: a blob, named by the tag that the hub gives it, and a link
//! from the snapshot of a commit.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use hf_hub::CacheRepo;
use ureq::Body;
use ureq::http::{HeaderMap, Response, StatusCode, header};

use crate::client::Client;
use robustify_report::{digest, wait_for_lock};
use robustify_watch::{Progress, Watch};

const MEGABYTE: u64 = 1_000_000;

/// One commit of a repository.
pub struct Source<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// `OWNER/REPO`.
    pub repository: &'a str,
    /// The commit.
    pub sha: &'a str,
    /// Where files are kept.
    pub cache: CacheRepo,
    /// Where the progress is shown.
    pub watch: &'a dyn Watch,
}

/// What the hub says of a file before it sends it.
#[derive(Default)]
struct About {
    tag: String,
    size: Option<u64>,
}

impl Source<'_> {
    /// Downloads a file into the cache, or continues to. It stays there if it has the size that the hub says, and, where the
    /// hub says it, the checksum.
    ///
    /// # Errors
    /// [`ureq::Error`] for what the hub refuses; a transfer that breaks off; a file that is not what the hub says it is.
    pub fn download(&self, file: &str) -> anyhow::Result<()> {
        let path = format!("{}/resolve/{}/{file}", self.repository, self.sha);
        // The tag is in the first answer that has one, before any redirect to a store.
        let mut about = About::default();
        let mut response = self.client.get(&path, 0, |response| about.read(response.headers()))?;
        ensure!(
            (1..=128).contains(&about.tag.len()) && about.tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
            "{file}: the hub gives it the tag `{}`, which is none",
            about.tag.escape_debug()
        );
        // Beside `snapshots/COMMIT` lies `blobs/TAG`.
        let snapshot = self.cache.pointer_path(self.sha);
        let root = snapshot.parent().and_then(Path::parent).context("a snapshot lies in a folder of the cache")?;
        let blobs = root.join("blobs");
        fs::create_dir_all(&blobs).with_context(|| blobs.display().to_string())?;
        let blob = blobs.join(&about.tag);
        let (_lock, waited) = wait_for_lock(&blob.with_extension("lock"), || {
            self.watch.say(&format!("{file}: another program is downloading it; waiting for it"));
        })?;
        if !blob.exists() {
            if waited {
                // The other one gave up, and the hub has not waited.
                response = self.client.get(&path, 0, |_| ())?;
            }
            let part = blob.with_extension("part");
            let size = self.receive(&path, response, &part, file)?;
            check(file, &part, about.size.or(size), &about.tag)?;
            fs::rename(&part, &blob).with_context(|| blob.display().to_string())?;
        }
        link(root, &blob, &snapshot.join(file))
    }

    /// Fills the file beside the blob from where it ends, and says how long the hub says that the whole is.
    fn receive(&self, path: &str, response: Response<Body>, part: &Path, file: &str) -> anyhow::Result<Option<u64>> {
        let have = part.metadata().map_or(0, |part| part.len());
        let answer = if have == 0 { Ok(response) } else { self.client.get(path, have, |_| ()) };
        let mut response = match answer {
            // There is nothing behind what is there: it is whole, or was never a part of this file.
            Err(ureq::Error::StatusCode(416)) => self.client.get(path, 0, |_| ())?,
            answer => answer?,
        };
        let continues = response.status() == StatusCode::PARTIAL_CONTENT;
        let total = if continues { range_total(response.headers()) } else { length(response.headers()) };
        let mut target = OpenOptions::new();
        let target = target.create(true).write(true).append(continues).truncate(!continues);
        let mut target = target.open(part).with_context(|| part.display().to_string())?;
        let mut done = if continues { have } else { 0 };
        let mut bar: Option<Box<dyn Progress>> = None;
        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let broken = |error| anyhow!("{file}: the download broke off ({error}); the same command continues it");
            let read = body.read(&mut buffer).map_err(broken)?;
            if read == 0 {
                break;
            }
            target.write_all(&buffer[..read]).with_context(|| part.display().to_string())?;
            done += read as u64;
            // A configuration is there in no time and shows nothing.
            if let Some(total) = total.filter(|&total| total >= MEGABYTE) {
                let megabytes = (total.div_ceil(MEGABYTE)) as usize;
                let bar = bar.get_or_insert_with(|| self.watch.progress(&format!("{file}, MB"), megabytes));
                bar.set((done / MEGABYTE) as usize, "");
            }
        }
        target.sync_all().with_context(|| part.display().to_string())?;
        if let Some(bar) = bar {
            bar.finish(&format!("{:.1}", done as f64 / MEGABYTE as f64));
        }
        Ok(total)
    }
}

impl About {
    fn read(&mut self, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if self.tag.is_empty()
            && let Some(tag) = text("x-linked-etag").or_else(|| text("etag"))
        {
            self.tag = tag.trim_start_matches("W/").trim_matches('"').to_owned();
            self.size = text("x-linked-size").and_then(|size| size.parse().ok());
        }
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The whole's size, of `bytes FIRST-LAST/SIZE`.
fn range_total(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_RANGE)?.to_str().ok()?.rsplit('/').next()?.parse().ok()
}

/// Deletes what is not the file that the hub announced.
fn check(file: &str, part: &Path, size: Option<u64>, tag: &str) -> anyhow::Result<()> {
    let found = part.metadata().with_context(|| part.display().to_string())?.len();
    let fault = match size {
        Some(size) if size != found => Some(format!("{found} bytes arrived instead of {size}")),
        // Large files are named by their SHA-256, small ones by what git calls them.
        _ if tag.len() == 64 && digest::of_file(part).with_context(|| part.display().to_string())? != tag => {
            Some("what arrived has another checksum".to_owned())
        }
        _ => None,
    };
    if let Some(fault) = fault {
        fs::remove_file(part).with_context(|| part.display().to_string())?;
        bail!("{file}: {fault}; try again");
    }
    Ok(())
}

/// Makes a snapshot's file be a blob: by a relative link, so that the cache can be moved, or, where there are none, by a copy.
fn link(root: &Path, blob: &Path, pointer: &Path) -> anyhow::Result<()> {
    let folder = pointer.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    // A link whose blob was deleted would be in the way.
    let _ = fs::remove_file(pointer);
    #[cfg(unix)]
    {
        let depth = folder.strip_prefix(root).map_or(0, |below| below.components().count());
        let mut target: PathBuf = std::iter::repeat_n("..", depth).collect();
        target.push(blob.strip_prefix(root)?);
        std::os::unix::fs::symlink(target, pointer).with_context(|| pointer.display().to_string())
    }
    #[cfg(not(unix))]
    let _ = root;
    #[cfg(not(unix))]
    fs::copy(blob, pointer).map(|_| ()).with_context(|| pointer.display().to_string())
}
