use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Int, Tensor};
use robustify_zoo::clip::TextMatrix;
use robustify_zoo::{CutPoint, Features, Model, Pass, Segment, ZooError, weights};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One of the three heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// Tuned on clean images only, towards the original model.
    Clean,
    /// Tuned on both; the yardstick of the KL divergence.
    Combined,
    /// Tuned on augmented images only, towards the robust teacher. The paper's "unclean" head.
    Robust,
}

impl Head {
    /// In the order of [`ThreeHeads::forward`].
    pub const ALL: [Self; 3] = [Self::Clean, Self::Combined, Self::Robust];

    /// Position in [`Head::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// `clean`, `combined` or `robust`.
    pub fn name(self) -> &'static str {
        ["clean", "combined", "robust"][self.index()]
    }
}

/// Where the frozen backbone ends and what the heads own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitConfig {
    /// Blocks (ViT) or stages (ResNet) before the heads that all heads share and tune.
    pub shared_blocks: usize,
    /// Last blocks or stages of which every head owns a copy, besides norm and classifier.
    pub head_blocks: usize,
    /// The first tunable layers with dropout, in tuning and in Monte Carlo passes.
    #[serde(default)]
    pub dropout_from: DropoutFrom,
}

/// Where dropout begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DropoutFrom {
    /// In the shared part, as in the paper; T passes then repeat it T times.
    #[default]
    Shared,
    /// In the heads; the shared part is computed once for all passes.
    Heads,
}

impl SplitConfig {
    /// The end of the frozen backbone.
    ///
    /// # Errors
    /// More tunable blocks than the model has.
    pub fn backbone_end(&self, model: &Model) -> Result<CutPoint, ZooError> {
        model.cut_before_last(self.shared_blocks + self.head_blocks)
    }
}

/// The tunable part of Robustify: a shared segment and three heads.
#[derive(Module, Debug)]
pub struct ThreeHeads {
    shared: Segment,
    /// None where the original answers for the clean head.
    clean: Option<Segment>,
    combined: Segment,
    robust: Segment,
    #[module(skip)]
    original: Option<Untouched>,
    #[module(skip)]
    dropout_from: DropoutFrom,
}

/// The original model behind the frozen backbone, as no tuning has touched it. Its tensors are the original's own.
#[derive(Clone, Debug)]
struct Untouched {
    shared: Segment,
    head: Segment,
    /// Both in one, as the original is asked by itself: in two parts, rounding may differ.
    whole: Segment,
}

impl ThreeHeads {
    /// All three heads as copies of the original, so that they begin identical and equal to it.
    ///
    /// # Errors
    /// More tunable blocks than the model has.
    pub fn new(model: &Model, split: SplitConfig) -> Result<Self, ZooError> {
        let head =
            |()| Ok::<_, ZooError>(owned(model.segment(model.cut_before_last(split.head_blocks)?, model.last_cut())));
        let shared = model.segment(split.backbone_end(model)?, model.cut_before_last(split.head_blocks)?);
        Ok(Self {
            shared: owned(shared),
            clean: Some(head(())?),
            combined: head(())?,
            robust: head(())?,
            original: None,
            dropout_from: split.dropout_from,
        })
    }

    /// The same heads with the original in the clean head's place: its own untouched shared part and its own head. What was tuned
    /// as the clean head is left out, of the parameters as well.
    ///
    /// # Errors
    /// More tunable blocks than the model has.
    pub fn preserving(self, model: &Model, split: SplitConfig) -> Result<Self, ZooError> {
        let (start, head, end) =
            (split.backbone_end(model)?, model.cut_before_last(split.head_blocks)?, model.last_cut());
        let original = Untouched {
            shared: model.segment(start, head),
            head: model.segment(head, end),
            whole: model.segment(start, end),
        };
        Ok(Self { clean: None, original: Some(original), ..self })
    }

    /// Whether the original answers for the clean head.
    pub fn is_preserving(&self) -> bool {
        self.original.is_some()
    }

    /// Logits of the three heads in one pass, without dropout unless `pass` has masks, in the order of [`Head::ALL`]. Where the original answers for the clean head, they
    /// are those that it gives by itself, to the bit.
    ///
    /// # Shapes
    /// - features: at the backbone's end
    /// - output: `[rows, classes]` each
    pub fn deterministic(&self, features: Features, pass: &Pass<'_>) -> [Tensor<2>; 3] {
        let Some(original) = &self.original else { return self.forward(features, 1, pass) };
        let clean = original.whole.forward(features.clone(), pass).logits();
        let (state, _) = through(&self.shared, self.dropout_from, features, 1, pass);
        let [combined, robust] = [&self.combined, &self.robust].map(|head| head.forward(state.clone(), pass).logits());
        [clean, combined, robust]
    }

    /// Logits of the clean, the combined and the robust head; of the original in the clean head's place too, with the masks of a
    /// clean head.
    ///
    /// Masks of the heads are keyed apart. What no mask can change is computed once for all passes.
    ///
    /// # Shapes
    /// - features: at the backbone's end, `batch` rows
    /// - output: `[batch * passes, classes]` each, the passes of an image next to each other
    pub fn forward(&self, features: Features, passes: usize, pass: &Pass<'_>) -> [Tensor<2>; 3] {
        self.forward_scoped(features, passes, pass, Head::ALL.map(Head::name))
    }

    /// The same with one mask for the same layer of all three heads.
    pub fn forward_alike(&self, features: Features, passes: usize, pass: &Pass<'_>) -> [Tensor<2>; 3] {
        self.forward_scoped(features, passes, pass, ["head"; 3])
    }

    fn forward_scoped(&self, features: Features, passes: usize, pass: &Pass<'_>, scopes: [&str; 3]) -> [Tensor<2>; 3] {
        let behind = |shared: &Segment, features: Features| through(shared, self.dropout_from, features, passes, pass);
        let untouched = self.original.as_ref().map(|original| behind(&original.shared, features.clone()));
        let tuned = behind(&self.shared, features);
        Head::ALL.map(|head| {
            let (state, passes) = match (&untouched, head) {
                (Some(untouched), Head::Clean) => untouched.clone(),
                _ => tuned.clone(),
            };
            let pass = pass.scoped(scopes[head.index()]);
            self.head(head).forward_passes(state, passes, &pass).logits()
        })
    }

    /// Logits of the rows that each head is tuned on: the clean head's and the robust head's own, and all rows of the
    /// combined head.
    ///
    /// # Shapes
    /// - features: `rows` rows; `clean` and `robust` index them
    /// - output: `[clean rows, classes]`, `[rows, classes]`, `[robust rows, classes]`
    pub fn forward_split(
        &self,
        features: Features,
        clean: Tensor<1, Int>,
        robust: Tensor<1, Int>,
        passes: [&Pass<'_>; 3],
    ) -> [Tensor<2>; 3] {
        let [clean_pass, pass, robust_pass] = passes;
        let (state, _) = through(&self.shared, self.dropout_from, features, 1, pass);
        let head = |head: Head, state: Features, pass: &Pass<'_>| {
            self.head(head).forward(state, &pass.scoped(head.name())).logits()
        };
        let clean = head(Head::Clean, state.clone().select(clean), clean_pass);
        let robust = head(Head::Robust, state.clone().select(robust), robust_pass);
        [clean, head(Head::Combined, state, pass), robust]
    }

    /// The shared part with one of the heads alone.
    #[must_use]
    pub fn one(&self, head: Head) -> OneHead {
        OneHead { shared: self.shared.clone(), tail: self.head(head).clone(), dropout_from: self.dropout_from }
    }

    /// The heads with these texts as their classes, in place of the texts that they have.
    ///
    /// # Errors
    /// Heads whose classes are no texts, or texts of another width.
    pub fn with_texts(self, texts: &TextMatrix, device: &Device) -> Result<Self, ZooError> {
        let clean = self.clean.map(|clean| clean.with_texts(texts, device)).transpose()?;
        let untouched = |original: Untouched| -> Result<Untouched, ZooError> {
            let (head, whole) = (original.head.with_texts(texts, device)?, original.whole.with_texts(texts, device)?);
            Ok(Untouched { head, whole, ..original })
        };
        let original = self.original.map(untouched).transpose()?;
        let combined = self.combined.with_texts(texts, device)?;
        let robust = self.robust.with_texts(texts, device)?;
        Ok(Self { clean, original, combined, robust, ..self })
    }

    fn head(&self, head: Head) -> &Segment {
        match head {
            Head::Clean => match (&self.clean, &self.original) {
                (Some(clean), _) => clean,
                (None, Some(original)) => &original.head,
                (None, None) => unreachable!("a clean head is left out where the original takes its place"),
            },
            Head::Combined => &self.combined,
            Head::Robust => &self.robust,
        }
    }
}

/// A tunable part with one head: what APT tunes. It has Robustify's shared part, so that both tune the same layers at the
/// same rates and with the same dropout.
#[derive(Module, Debug)]
pub struct OneHead {
    shared: Segment,
    tail: Segment,
    #[module(skip)]
    dropout_from: DropoutFrom,
}

impl OneHead {
    /// A copy of everything after the frozen backbone.
    ///
    /// # Errors
    /// More tunable blocks than the model has.
    pub fn new(model: &Model, split: SplitConfig) -> Result<Self, ZooError> {
        let head_start = model.cut_before_last(split.head_blocks)?;
        Ok(Self {
            shared: owned(model.segment(split.backbone_end(model)?, head_start)),
            tail: owned(model.segment(head_start, model.last_cut())),
            dropout_from: split.dropout_from,
        })
    }

    /// The whole network that `model` and this part make together: everything before the cut as `model` has it.
    ///
    /// # Errors
    /// More tunable blocks than the model has.
    pub fn into_model(self, model: Model, split: SplitConfig) -> Result<Model, ZooError> {
        let (start, head_start, end) =
            (split.backbone_end(&model)?, model.cut_before_last(split.head_blocks)?, model.last_cut());
        let mut state = weights::state(&model);
        for (tuned, part) in
            [(&self.shared, model.segment(start, head_start)), (&self.tail, model.segment(head_start, end))]
        {
            let names = weights::names_in(&model, &part);
            let tuned = weights::state(tuned);
            state.extend(tuned.into_iter().filter_map(|(name, entry)| Some((names.get(&name)?.clone(), entry))));
        }
        let misfit = |faults: Vec<String>| ZooError::Config(faults.join("; "));
        weights::with_state(model, state).map_err(misfit)
    }

    /// # Shapes
    /// - features: at the backbone's end
    /// - output: logits `[rows, classes]`
    pub fn forward(&self, features: Features, pass: &Pass<'_>) -> Tensor<2> {
        let (state, _) = through(&self.shared, self.dropout_from, features, 1, pass);
        self.tail.forward(state, pass).logits()
    }
}

/// The shared part's output, and the passes that are left for the heads to make.
fn through(
    shared: &Segment,
    dropout_from: DropoutFrom,
    features: Features,
    passes: usize,
    pass: &Pass<'_>,
) -> (Features, usize) {
    if shared.is_empty() {
        return (features, passes);
    }
    if dropout_from == DropoutFrom::Heads || !shared.draws() {
        return (shared.forward(features, &Pass::eval()), passes);
    }
    (shared.forward_passes(features, passes, &pass.scoped("shared")), 1)
}

/// A copy whose parameters have identities of their own.
fn owned(segment: Segment) -> Segment {
    struct Fresh;
    impl ModuleMapper for Fresh {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (_, value, mapper) = param.consume();
            Param::from_mapped_value(ParamId::new(), value, mapper)
        }
    }
    segment.map(&mut Fresh)
}
