//! Ready-made training policies under a name: those of the paper's teachers.

/// Names of policies, and the policies: `recipe(NAME)` as a whole policy is the text beside it.
///
/// A pair is one, the other, or the first on top of the second, a third of the images each. DeepAugment is Noise2Net here, which
/// needs no weights. Whoever has those of the autoencoder or of EDSR writes the alternatives out, as in
/// `augmix|cae(weights=CAE)|edsr(weights=EDSR)|edsr(weights=EDSR)+augmix`.
///
/// Source of the augmentations: Jain et al. 2023, arXiv:2309.07499, table 4; of AugMix on top of DeepAugment: hendrycks/imagenet-r,
/// `DeepAugment/train.py`. PixMix mixes in generated pictures of iterated function systems, the same in every run.
pub const RECIPES: [(&str, &str); 6] = [
    ("augmix", "augmix(severity=3)"),
    ("pixmix", "pixmix"),
    ("deepaugment", "noise2net"),
    ("augmix+pixmix", "augmix(severity=3)|pixmix|pixmix+augmix(severity=3)"),
    ("augmix+deepaugment", "augmix(severity=3)|noise2net|noise2net+augmix(severity=3)"),
    ("pixmix+deepaugment", "pixmix|noise2net|noise2net+pixmix"),
];

/// The policy that a text stands for: the text itself unless it is `recipe(NAME)`.
///
/// # Errors
/// A name that no recipe has, as a sentence.
pub fn written_out(text: &str) -> Result<&str, String> {
    let name = text.trim().strip_prefix("recipe(").and_then(|rest| rest.strip_suffix(')')).map(str::trim);
    let Some(name) = name.filter(|name| !name.contains(['(', ')', '|'])) else { return Ok(text) };
    let found = RECIPES.iter().find(|(known, _)| *known == name);
    found.map(|(_, policy)| *policy).ok_or_else(|| {
        let names: Vec<&str> = RECIPES.iter().map(|(name, _)| *name).collect();
        format!("there is no recipe `{name}`; recipes are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;

    #[test]
    fn a_recipe_is_a_policy_that_can_be_written_out() {
        let steps = |name: &str, _: &str| (name == "noise2net").then_some(Ok(()));
        for (name, policy) in RECIPES {
            let recipe = format!("recipe({name})");
            assert_eq!(written_out(&recipe), Ok(policy));
            assert_eq!(Policy::check(&recipe, &steps), Ok(()), "{name}");
        }
        let [short, long] = ["recipe(augmix+pixmix)", RECIPES[3].1].map(|text| text.parse::<Policy>().unwrap());
        assert_eq!(short, long);
        // Within a longer policy a recipe would be an alternative of alternatives.
        assert!("recipe(augmix)|pixmix".parse::<Policy>().is_err());
        let error = "recipe(augmix+flip)".parse::<Policy>().unwrap_err().to_string();
        assert!(error.contains("augmix+flip") && error.contains("pixmix+deepaugment"), "{error}");
    }
}
