//! `hf-hub:` names of the built program, against a server of this test that answers as the Hugging Face hub does.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use robustify_zoo::weights;
use robustify_zoo::{Model, registry};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const CONFIG: &[u8] = br#"{"architecture": "micro_swin", "num_classes": 10}"#;
const TOKEN: &str = "hf_neverToBeSeen";

/// What is wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The connection ends within the weights.
    BreaksOff,
    /// Fewer bytes than the size that was said.
    Short,
    /// Other bytes than the checksum that was said.
    Corrupt,
    /// A tag that leads out of the cache.
    Escape,
}

/// A hub with the repository `timm/micro_swin`, one that is gated, and nothing else.
struct Hub {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, address) = (Arc::clone(&requests), endpoint.clone());
        let weights = weights_of_the_model();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &address, &weights, fault, &seen);
            }
        });
        Self { endpoint, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Answers one request and closes the connection.
fn answer(mut stream: TcpStream, address: &str, weights: &[u8], fault: Fault, seen: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase()).collect();
    let header =
        |name: &str| headers.iter().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
    let path = first.split(' ').nth(1).unwrap();
    let range = header("range").unwrap_or_default();
    // The store is another host, which the token is no business of.
    assert!(path != "/store" || header("authorization").is_none(), "the store gets the token");
    let asked_by = if header("authorization").is_some() { " with the token" } else { "" };
    seen.lock().unwrap().push(format!("{path} {range}{asked_by}"));
    let resolved = format!("/timm/micro_swin/resolve/{COMMIT}/");
    let sha = hexadecimal(&Sha256::digest(weights));
    if path == "/api/models/timm/micro_swin/revision/main" || path == "/api/models/timm/micro_swin/revision/v1" {
        let about = format!(
            r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "README.md"}}, {{"rfilename": "config.json"}}, {{"rfilename": "model.safetensors"}}]}}"#
        );
        send(&mut stream, "200 OK", "", about.as_bytes());
    } else if path.starts_with("/api/models/timm/gated/") {
        send(&mut stream, "401 Unauthorized", "", b"");
    } else if path == format!("{resolved}config.json") {
        partial(
            &mut stream,
            &format!("ETag: \"{}\"\r\nX-Repo-Commit: {COMMIT}\r\n", &sha[..40]),
            CONFIG,
            CONFIG.len(),
            &range,
        );
    } else if path == format!("{resolved}model.safetensors") {
        let tag = if fault == Fault::Escape { "../../../escaped" } else { &sha };
        let place = format!(
            "Location: {}/store\r\nX-Linked-ETag: \"{tag}\"\r\nX-Linked-Size: {}\r\n",
            address.replace("127.0.0.1", "localhost"),
            weights.len()
        );
        send(&mut stream, "302 Found", &place, b"");
    } else if path == "/store" {
        let mut sent = weights.to_vec();
        match fault {
            Fault::Corrupt => *sent.last_mut().unwrap() ^= 1,
            Fault::Short => sent.truncate(1000),
            Fault::BreaksOff => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", weights.len());
                stream.write_all(&[head.as_bytes(), &weights[..1000]].concat()).unwrap();
                return;
            }
            _ => {}
        }
        partial(&mut stream, "", &sent, weights.len(), &range);
    } else {
        send(&mut stream, "404 Not Found", "", b"");
    }
}

/// The bytes that `bytes=FIRST-` or `bytes=FIRST-LAST` asks for, of a file that is said to have `size`.
fn partial(stream: &mut TcpStream, headers: &str, body: &[u8], size: usize, range: &str) {
    if range.is_empty() {
        return send(stream, "200 OK", headers, body);
    }
    let (first, last) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).unwrap();
    let first: usize = first.parse().unwrap();
    let end = last.parse().map_or(body.len(), |last: usize| last + 1);
    let headers = format!("{headers}Content-Range: bytes {first}-{}/{size}\r\n", end - 1);
    send(stream, "206 Partial Content", &headers, &body[first..end]);
}

/// A client that has read enough may be gone, which is no fault.
fn send(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn weights_of_the_model() -> Vec<u8> {
    let device = robustify_device::open(Some("flex")).unwrap();
    let model = Model::new(&(registry::find("micro_swin").unwrap().config)(), 7, &device).unwrap();
    weights::to_bytes(&weights::state(&model))
}

/// A user with a home of their own.
struct User {
    home: TempDir,
    endpoint: String,
}

impl User {
    fn of(hub: &Hub) -> Self {
        Self { home: tempfile::tempdir().unwrap(), endpoint: hub.endpoint.clone() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_robustify"));
        for name in
            ["HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN", "HF_TOKEN_PATH", "HTTP_PROXY", "http_proxy", "ALL_PROXY"]
        {
            command.env_remove(name);
        }
        command.env("HF_HOME", self.home.path()).env("HF_ENDPOINT", &self.endpoint).env("NO_PROXY", "127.0.0.1");
        command
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let output = self.command().args(arguments).envs(variables.iter().copied()).output().unwrap();
        let all = [&output.stdout[..], &output.stderr[..]].concat();
        assert!(!String::from_utf8_lossy(&all).contains(TOKEN), "the token is shown");
        output
    }

    fn convert(&self, name: &str, variables: &[(&str, &str)]) -> Output {
        let out = self.home.path().join("out.safetensors");
        self.run(
            &["models", "convert", name, out.to_str().unwrap(), "--to", "timm", "--model", "micro_swin"],
            variables,
        )
    }

    fn cache(&self) -> PathBuf {
        self.home.path().join("hub/models--timm--micro_swin")
    }
}

fn succeeded(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

const SWIN: &str = "hf-hub:timm/micro_swin";

#[test]
fn a_repository_is_downloaded_once_and_names_its_model() {
    let hub = Hub::start(Fault::None);
    let user = User::of(&hub);
    let out = user.home.path().join("first.safetensors");
    let arguments = ["models", "convert", SWIN, out.to_str().unwrap(), "--to", "timm"];
    succeeded(&user.run(&arguments, &[]));
    let state = weights::read(&out).unwrap();
    assert_eq!(state, weights::from_bytes(&weights_of_the_model()).unwrap());
    assert_eq!(fs::read_to_string(user.cache().join("refs/main")).unwrap(), COMMIT);
    let copy = user.cache().join("snapshots").join(COMMIT).join("model.safetensors");
    assert_eq!(fs::read(copy).unwrap(), weights_of_the_model());

    let asked = hub.requests().len();
    for (name, variables) in [
        (SWIN, [("HF_ENDPOINT", "http://127.0.0.1:1")].as_slice()),
        ("hf_hub:timm/micro_swin", &[("HF_HUB_OFFLINE", "1")]),
        ("hf-hub:timm/micro_swin/model.safetensors", &[("HF_HUB_OFFLINE", "yes")]),
        (&format!("{SWIN}@{COMMIT}"), &[("HF_HUB_OFFLINE", "1")]),
    ] {
        succeeded(&user.convert(name, variables));
        assert_eq!(weights::read(&user.home.path().join("out.safetensors")).unwrap(), state, "{name}");
    }
    assert_eq!(hub.requests().len(), asked, "what is in the cache is asked for again");
}

#[test]
fn a_revision_and_one_file_are_taken_as_they_are_named() {
    let hub = Hub::start(Fault::None);
    let user = User::of(&hub);
    let cache = user.home.path().join("elsewhere");
    let variables = [("HF_HUB_CACHE", cache.to_str().unwrap()), ("HF_TOKEN", TOKEN)];
    succeeded(&user.convert("hf-hub:timm/micro_swin/model.safetensors@v1", &variables));
    assert!(hub.requests()[0].starts_with("/api/models/timm/micro_swin/revision/v1"));
    let told =
        |path: &str| hub.requests().iter().filter(|said| said.starts_with(path)).all(|said| said.ends_with("token"));
    assert!(told("/api") && told("/timm") && !told("/store"), "{:?}", hub.requests());
    let folder = cache.join("models--timm--micro_swin");
    assert_eq!(fs::read_to_string(folder.join("refs/v1")).unwrap(), COMMIT);
    assert!(!folder.join("snapshots").join(COMMIT).join("config.json").exists());
    assert!(!user.cache().exists());
    let error = failed(&user.convert("hf-hub:timm/micro_swin/pytorch_model.bin", &variables));
    assert!(error.contains("has no pytorch_model.bin; its files are README.md, config.json"), "{error}");
}

#[test]
fn what_the_hub_refuses_is_explained() {
    let hub = Hub::start(Fault::None);
    let user = User::of(&hub);
    let token = [("HF_TOKEN", TOKEN)];
    for (name, variables, wanted) in [
        ("hf-hub:timm/nothing", [].as_slice(), "there is no repository http://127.0.0.1"),
        ("hf-hub:timm/gated", &[], "private or gated"),
        ("hf-hub:timm/gated", &[], "HF_TOKEN is not set"),
        ("hf-hub:timm/gated", &token, "the token in use has no access"),
        (SWIN, &[("HF_ENDPOINT", "http://127.0.0.1:1")], "http://127.0.0.1:1 cannot be reached"),
        (SWIN, &[("HF_HUB_OFFLINE", "1")], "HF_HUB_OFFLINE is set, and the cache in"),
        ("hf-hub:micro_swin", &[], "expected hf-hub:OWNER/REPO"),
    ] {
        let error = failed(&user.convert(name, variables));
        assert!(error.contains(wanted) && error.contains(name), "{name}: {error}");
    }
    let both = [("HF_TOKEN", "hf_neverToBeSeen\u{7}"), ("HF_HUB_OFFLINE", "1")];
    assert!(failed(&user.convert(SWIN, &both)).contains("characters that no token has"));
    let file = user.home.path().join("file");
    fs::write(&file, "").unwrap();
    let error = failed(&user.convert(SWIN, &[("HF_HOME", file.to_str().unwrap())]));
    assert!(error.contains("is a file; name a folder in HF_HOME"), "{error}");
}

#[test]
fn a_damaged_download_is_never_taken_for_the_file() {
    for (fault, wanted) in [
        (Fault::BreaksOff, "the download broke off"),
        (Fault::Short, "1000 bytes arrived instead of"),
        (Fault::Corrupt, "another checksum"),
        (Fault::Escape, "the tag `../../../escaped`, which is none"),
    ] {
        let hub = Hub::start(fault);
        let mut user = User::of(&hub);
        let error = failed(&user.convert(SWIN, &[]));
        assert!(error.contains(wanted), "{fault:?}: {error}");
        failed(&user.convert(SWIN, &[("HF_HUB_OFFLINE", "1")]));

        let hub = Hub::start(Fault::None);
        user.endpoint.clone_from(&hub.endpoint);
        succeeded(&user.convert(SWIN, &[]));
        let found = weights::read(&user.home.path().join("out.safetensors")).unwrap();
        assert_eq!(found, weights::from_bytes(&weights_of_the_model()).unwrap(), "{fault:?}");
        let continued = hub.requests().iter().any(|request| request == "/store bytes=1000-");
        assert_eq!(continued, fault == Fault::BreaksOff, "{fault:?}: {:?}", hub.requests());
    }
}

#[test]
fn a_download_waits_for_another_programs() {
    let hub = Hub::start(Fault::None);
    let user = User::of(&hub);
    let blobs = user.cache().join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    let weights = weights_of_the_model();
    let blob = blobs.join(hexadecimal(&Sha256::digest(&weights)));
    let lock = fs::File::create(blob.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let out = user.home.path().join("out.safetensors");
    let mut command = user.command();
    command.args(["models", "convert", SWIN, out.to_str().unwrap(), "--to", "timm"]).stderr(Stdio::piped());
    let mut waiting = command.spawn().unwrap();
    let mut said = BufReader::new(waiting.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("model.safetensors") && line.contains("waiting for it")));
    fs::write(&blob, &weights).unwrap();
    lock.unlock().unwrap();
    let rest: Vec<String> = said.collect();
    assert!(waiting.wait().unwrap().success(), "{rest:?}");
    let copy = user.cache().join("snapshots").join(COMMIT).join("model.safetensors");
    assert_eq!(fs::read(copy).unwrap(), weights);
}

#[test]
fn training_takes_its_large_model_from_the_hub() {
    let hub = Hub::start(Fault::None);
    let user = User::of(&hub);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let config = root.join("configs/fashion-mini.toml");
    let data = format!("data.path={}", root.join("datasets/fashion-mnist-mini").display());
    let runs = user.home.path().join("runs");
    let arguments = [
        "train",
        "--config",
        config.to_str().unwrap(),
        "--run-dir",
        runs.to_str().unwrap(),
        &data,
        "original.weights=hf-hub:timm/micro_swin",
    ];
    // The repository is downloaded, and does not fit the network of the configuration.
    let error = failed(&user.run(&arguments, &[]));
    assert!(error.contains("model.safetensors: does not fit the model") && error.contains("Swin"), "{error}");
    assert!(user.cache().join("refs/main").exists());
}
