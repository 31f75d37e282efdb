//! A checkpoint is whole, of this training, or an error that names the file; a failed save leaves the old one.

use std::path::Path;

use burn::module::Module;
use robustify_device::Workers;
use robustify_distill::checkpoint::{self, Found, Position};
use robustify_distill::optimizer::AdamW;
use robustify_distill::trainer;
use robustify_distill::{DistillError, Robustify, TuningConfig};
use robustify_select::{OneHead, SplitConfig, ThreeHeads};
use robustify_watch::{Progress, Silent, Stopped, Watch};
use robustify_zoo::weights::{self, Entry, State};
use tempfile::TempDir;

use crate::common::{Cached, Watcher, flex, plan, stirred, tuning, vit};

const IDENTITY: &str = "this training";

fn heads() -> ThreeHeads {
    ThreeHeads::new(
        &vit(1),
        SplitConfig { shared_blocks: 0, head_blocks: 1, dropout_from: robustify_select::DropoutFrom::Shared },
    )
    .unwrap()
}

fn moments<M: Module>(model: &M) -> AdamW {
    let both = |(name, entry): (String, Entry)| {
        let moment = Entry { shape: vec![entry.values.len()], values: entry.values };
        [(format!("m.{name}"), moment.clone()), (format!("v.{name}"), moment)]
    };
    AdamW::with_state(weights::state(model).into_iter().flat_map(both).collect(), 7, &flex()).unwrap()
}

fn saved<M: Module>(path: &Path, model: &M) {
    let config = serde_json::json!({"epochs": 1});
    checkpoint::save(path, IDENTITY, &config, model, &moments(model), &Position::default()).unwrap();
}

/// The message of the error that loading gives.
fn refusal(path: &Path, identity: &str) -> String {
    let error = match checkpoint::load(path, identity, heads(), &flex()) {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    };
    assert!(matches!(error, DistillError::Checkpoint { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(&path.display().to_string()) && message.contains("delete it"), "{message}");
    message
}

#[test]
fn what_is_saved_comes_back() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("new folder/checkpoint.safetensors");
    assert!(matches!(checkpoint::load(&path, IDENTITY, heads(), &flex()), Ok(Found::Nothing(_))));
    let (model, mut position) = (stirred(heads()), Position::default());
    (position.epoch, position.step, position.optimizer_steps) = (1, 2, 7);
    let config = serde_json::json!({"seed": 1});
    checkpoint::save(&path, IDENTITY, &config, &model, &moments(&model), &position).unwrap();
    let Ok(Found::Checkpoint(loaded, adamw, found)) = checkpoint::load(&path, IDENTITY, heads(), &flex()) else {
        panic!("no checkpoint");
    };
    assert_eq!(weights::state(&loaded), weights::state(&model));
    assert_eq!((adamw.state(), adamw.steps()), (moments(&model).state(), 7));
    assert_eq!(found, position);
}

#[test]
fn damage_is_found_wherever_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    saved(&path, &heads());
    let whole = std::fs::read(&path).unwrap();
    let expect_damage = |bytes: &[u8], what: &str| {
        std::fs::write(&path, bytes).unwrap();
        let found = checkpoint::load(&path, IDENTITY, heads(), &flex());
        assert!(matches!(found, Ok(Found::Damaged(..))), "{what} went through");
    };
    for length in [0, 1, 7, 8, 9, 300, whole.len() / 2, whole.len() - 1] {
        expect_damage(&whole[..length], &format!("the first {length} bytes"));
    }
    for lie in [0, 1_u64 << 40, u64::MAX] {
        expect_damage(&[&lie.to_le_bytes(), &whole[8..]].concat(), &format!("a header of {lie} bytes"));
    }
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for place in (0..header).step_by(7).chain((header..whole.len()).step_by(997)) {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        expect_damage(&flipped, &format!("a flipped bit in byte {place}"));
    }
    // What an older version wrote has no checksum.
    let metadata = [("format", "robustify-checkpoint-1"), ("identity", IDENTITY)];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    expect_damage(&safetensors::serialize(&State::new(), Some(metadata)).unwrap(), "a file of an older version");
}

/// Hears warnings.
#[derive(Default)]
struct Warned(std::sync::Mutex<Vec<String>>);

impl Watch for Warned {
    fn say(&self, _: &str) {}
    fn warn(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
    fn progress(&self, _: &str, _: usize) -> Box<dyn Progress> {
        Box::new(Silent)
    }
    fn is_stopped(&self) -> bool {
        false
    }
}

#[test]
fn a_training_with_a_damaged_checkpoint_names_it_and_starts_over() {
    let (device, folder, workers) = (flex(), TempDir::new().unwrap(), Workers::new(1).unwrap());
    let (config, cached) = (tuning(), Cached::new(vit(1), [0, 1], 2));
    let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
    let train = |name: &str, watch: &dyn Watch| {
        let robustify = Robustify(cached.pairs(&config, 4, &device));
        let plan = plan(2, &folder.path().join(name));
        trainer::train(&robustify, heads.clone(), &plan, &workers, &device, watch)
    };
    let (whole, _) = train("whole", &Silent).unwrap();
    assert!(train("broken", &Watcher::stopping_after(1)).is_err());
    let path = folder.path().join("broken");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 0x40;
    std::fs::write(&path, bytes).unwrap();
    let warned = Warned::default();
    let (again, _) = train("broken", &warned).unwrap();
    assert!(weights::state(&again) == weights::state(&whole), "a damaged checkpoint went into the weights");
    let warned = warned.0.into_inner().unwrap();
    assert!(
        matches!(&warned[..], [text] if text.contains("broken") && text.ends_with("test starts over")),
        "{warned:?}"
    );
}

#[test]
fn weights_that_an_update_made_too_large_end_the_training() {
    let (device, folder, workers) = (flex(), TempDir::new().unwrap(), Workers::new(1).unwrap());
    let (config, cached) = (tuning(), Cached::new(vit(1), [0, 1], 2));
    let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
    let mut plan = plan(1, &folder.path().join("checkpoint.safetensors"));
    (plan.optimizer.learning_rate, plan.optimizer.warmup_fraction) = (3e38, 0.0);
    // One step: its loss and gradients are sound, and nobody looks at the weights after it but the checkpoint.
    let config = TuningConfig { pairs: 64, ..config };
    let robustify = Robustify(cached.pairs(&config, 64, &device));
    plan.optimizer.weight_decay = 10.0;
    let error = trainer::train(&robustify, heads, &plan, &workers, &device, &Silent).unwrap_err();
    assert!(matches!(error, DistillError::DivergedWeights { step: 1, .. }), "{error:?}");
    assert!(!plan.checkpoint.exists());
}

#[test]
fn a_checkpoint_of_something_else_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    saved(&path, &heads());
    assert!(refusal(&path, "another training").contains("other settings"));

    std::fs::write(&path, weights::to_bytes(&weights::state(&heads()))).unwrap();
    assert!(refusal(&path, IDENTITY).contains("no format in its header"));

    saved(
        &path,
        &OneHead::new(
            &vit(1),
            SplitConfig { shared_blocks: 0, head_blocks: 1, dropout_from: robustify_select::DropoutFrom::Shared },
        )
        .unwrap(),
    );
    assert!(refusal(&path, IDENTITY).contains("missing tensor clean."));
}

#[test]
fn moments_that_do_not_fit_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let model = heads();
    let one = |shape: Vec<usize>| Entry { values: vec![0.0; shape.iter().product()], shape };
    let save = |name: &str, moment: Entry| {
        let state = State::from([(format!("m.{name}"), moment.clone()), (format!("v.{name}"), moment)]);
        let adamw = AdamW::with_state(state, 1, &flex()).unwrap();
        checkpoint::save(&path, IDENTITY, &serde_json::Value::Null, &model, &adamw, &Position::default()).unwrap();
    };
    save("clean.head.bias", one(vec![3]));
    assert!(refusal(&path, IDENTITY).contains("clean.head.bias"));
    save("clean.foot.bias", one(vec![4]));
    assert!(refusal(&path, IDENTITY).contains("clean.foot.bias"));

    let halves = State::from([("m.clean.head.bias".to_owned(), one(vec![4]))]);
    assert!(AdamW::with_state(halves, 1, &flex()).is_none(), "half a pair of moments was accepted");
    let matrix = one(vec![2, 2]);
    let misshapen =
        State::from([("m.clean.head.bias".to_owned(), matrix.clone()), ("v.clean.head.bias".to_owned(), matrix)]);
    assert!(AdamW::with_state(misshapen, 1, &flex()).is_none(), "moments of rank two were accepted");
}

#[test]
fn a_failed_save_leaves_the_old_file() {
    let folder = TempDir::new().unwrap();
    let whole = folder.path().join("checkpoint.safetensors");
    saved(&whole, &heads());
    // A file may have this name, but nothing beside it a longer one.
    let path = folder.path().join("c".repeat(250));
    std::fs::rename(&whole, &path).unwrap();
    let before = std::fs::read(&path).unwrap();
    let other = stirred(heads());
    let save = |path: &Path| {
        checkpoint::save(path, IDENTITY, &serde_json::Value::Null, &other, &moments(&other), &Position::default())
    };
    let message = save(&path).unwrap_err().to_string();
    assert!(message.contains(&path.display().to_string()), "{message}");
    assert!(std::fs::read(&path).unwrap() == before, "the old checkpoint is gone");

    let under_a_file = path.join("checkpoint.safetensors");
    let message = save(&under_a_file).unwrap_err().to_string();
    assert!(message.contains(&under_a_file.display().to_string()), "{message}");
}

#[test]
fn a_save_takes_no_name_that_another_process_may_use() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    // What another process may be at, or a broken one have left.
    std::fs::create_dir(folder.path().join("checkpoint.safetensors.tmp")).unwrap();
    saved(&path, &heads());
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 2, "a save leaves other files behind");
}

#[test]
fn a_training_that_diverges_is_an_error_and_keeps_the_last_sound_state() {
    let (device, folder, workers) = (flex(), TempDir::new().unwrap(), Workers::new(1).unwrap());
    let config = tuning();
    let mut cached = Cached::new(vit(1), [0, 1], 2);
    let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
    let plan = plan(1, &folder.path().join("checkpoint.safetensors"));
    let train = |cached: &Cached, watcher: &Watcher| {
        let robustify = Robustify(cached.pairs(&config, 4, &device));
        trainer::train(&robustify, heads.clone(), &plan, &workers, &device, watcher).map(|_| ())
    };
    let stopped = train(&cached, &Watcher::stopping_after(1));
    assert!(matches!(stopped, Err(DistillError::Stopped(Stopped::Saved))), "{stopped:?}");
    let before = std::fs::read(&plan.checkpoint).unwrap();
    cached.cache = cached.untaught();
    let error = train(&cached, &Watcher::default()).unwrap_err();
    assert!(matches!(error, DistillError::Diverged { step: 2, .. }), "{error:?}");
    assert!(std::fs::read(&plan.checkpoint).unwrap() == before, "the last sound checkpoint is gone");
}
