//! Which of the student's tokens is compared with which of the teacher's.

use burn::tensor::Tensor;
use robustify_zoo::LastTokens;

use super::Target;
use super::resample::resampled;

/// How the tokens of two networks go together.
///
/// Networks with the same tokens compare all of them, one by one. Otherwise class tokens are compared where both have one, the
/// teacher's patches are resampled to the student's grid (bilinear, before they are whitened), and all others are left out.
/// [`Target::Pooled`] and [`Target::Logits`] compare one vector an image, the student's the mean of its patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matching {
    target: Target,
    student: Layout,
    teacher: Layout,
}

/// The tokens of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    prefix: usize,
    grid: [usize; 2],
}

impl Layout {
    fn of(tokens: &LastTokens) -> Self {
        Self { prefix: tokens.prefix, grid: tokens.grid }
    }
}

impl Matching {
    /// Of what student and teacher say about any images.
    pub fn new(target: Target, student: &LastTokens, teacher: &LastTokens) -> Self {
        Self { target, student: Layout::of(student), teacher: Layout::of(teacher) }
    }

    /// Whether the tokens are the same ones, so that none is left out or made of others.
    fn is_exact(&self) -> bool {
        self.target == Target::Tokens && self.student == self.teacher
    }

    /// Whether class tokens are compared.
    fn has_class(&self) -> bool {
        self.student.prefix > 0 && self.teacher.prefix > 0
    }

    /// The student's tokens that are compared.
    ///
    /// # Shapes
    /// - output: `[rows, compared, width]`
    pub fn of_student(&self, tokens: &LastTokens) -> Tensor<3> {
        match self.target {
            Target::Pooled | Target::Logits => tokens.patches().mean_dim(1),
            Target::Tokens if self.is_exact() => tokens.tokens.clone(),
            Target::Tokens => self.with_class(tokens, tokens.patches()),
        }
    }

    /// What they are compared with, of [`Target::Tokens`] and [`Target::Pooled`].
    ///
    /// # Shapes
    /// - output: `[rows, compared, width]`
    pub fn of_teacher(&self, tokens: &LastTokens) -> Tensor<3> {
        if self.target == Target::Pooled {
            return tokens.patches().mean_dim(1);
        }
        if self.is_exact() {
            return tokens.tokens.clone();
        }
        let patches = tokens.patches();
        let ([rows, _, width], [high, wide], to) = (patches.dims(), self.teacher.grid, self.student.grid);
        let patches = resampled(patches.reshape([rows, high, wide, width]), to);
        self.with_class(tokens, patches.reshape([rows, to[0] * to[1], width]))
    }

    fn with_class(&self, tokens: &LastTokens, patches: Tensor<3>) -> Tensor<3> {
        match tokens.class().filter(|_| self.has_class()) {
            Some(class) => Tensor::cat(vec![class, patches], 1),
            None => patches,
        }
    }

    /// What is not compared one by one, a sentence each; nothing where all is.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.target != Target::Tokens || self.is_exact() {
            return notes;
        }
        let ([high, wide], [to_high, to_wide]) = (self.teacher.grid, self.student.grid);
        if self.teacher.grid != self.student.grid {
            notes.push(format!(
                "the teacher's grid of {high} x {wide} tokens is resampled to the student's of {to_high} x {to_wide}"
            ));
        }
        let compared = usize::from(self.has_class());
        for (whose, layout) in [("teacher", self.teacher), ("student", self.student)] {
            let left = layout.prefix - compared;
            if left > 0 {
                notes.push(format!(
                    "{left} of the {whose}'s tokens that are no patches are not compared: the other network has none like them"
                ));
            }
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlike_grids_and_tokens_are_matched_and_it_is_said() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let tokens = |prefix: usize, side: usize| {
            let count = prefix + side * side;
            let values = Tensor::<1, burn::tensor::Int>::arange(0..count as i64, &device).float();
            LastTokens { tokens: values.reshape([1, count as i32, 1]), prefix, grid: [side; 2] }
        };
        let host = |x: Tensor<3>| x.into_data().try_to_vec::<f32>().unwrap();
        let (student, teacher) = (tokens(1, 2), tokens(2, 4));
        let matching = Matching::new(Target::Tokens, &student, &teacher);
        assert_eq!(host(matching.of_student(&student)), [0.0, 1.0, 2.0, 3.0, 4.0]);
        let got = host(matching.of_teacher(&teacher));
        // A ramp stays one: its middle is that of the teacher's patches, 2 to 17.
        assert!(got.len() == 5 && got[0] == 0.0 && (got[1..].iter().sum::<f32>() - 4.0 * 9.5).abs() < 1e-4, "{got:?}");
        let notes = matching.notes();
        assert!(notes.len() == 2 && notes[0].contains("4 x 4") && notes[1].contains("1 of the teacher's"), "{notes:?}");
        let alike = Matching::new(Target::Tokens, &teacher, &teacher);
        assert!(alike.notes().is_empty() && alike.of_teacher(&teacher).dims() == [1, 18, 1]);
        let swin = Matching::new(Target::Tokens, &student, &tokens(0, 2));
        assert_eq!(swin.of_student(&student).dims(), [1, 4, 1]);
        assert_eq!(host(Matching::new(Target::Pooled, &student, &teacher).of_teacher(&teacher)), [9.5]);
    }
}
