//! Sums over images of what a layer's attention looks like. Their size depends on the layer alone.

use robustify_report::diagnosis::{Both, MapRecord, SimilarityRecord};

use super::geometry::Geometry;
use super::map::Map;

/// Sums of a layer. They are 64-bit and are added up in the order of the images, so that no result depends on threads.
#[derive(Clone, Debug)]
pub struct Sums {
    /// By head, over queries: of distances with the weights as they are, and with rows divided by their sum.
    plain: Vec<f64>,
    renormalised: Vec<f64>,
    /// Queries, and those of each head that gave patches any weight.
    queries: f64,
    weighted: Vec<f64>,
    /// `[heads, heads]` of cosines: of rows over patches, of rows over all tokens, of whole maps.
    patches: Cosines,
    all: Cosines,
    whole: Cosines,
    /// `[patches, patches]`, over windows and heads.
    plain_map: Vec<f64>,
    renormalised_map: Vec<f64>,
    /// `[tokens, tokens]`, over windows and heads.
    token_map: Vec<f64>,
    /// By token, windows in which it is one of the image's; of the map, times heads.
    seen: Vec<f64>,
}

/// Sums of cosines of pairs, and how many there were.
#[derive(Clone, Debug)]
struct Cosines {
    sums: Vec<f64>,
    count: f64,
}

/// What was found of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// For every head the mean distance in pixels.
    pub distance: Both<Vec<f64>>,
    /// For every two heads the mean cosine of their rows over patches, `[heads, heads]`.
    pub patches: Vec<f64>,
    /// The same over all tokens.
    pub all: Vec<f64>,
    /// The mean cosine of their whole maps.
    pub whole: Vec<f64>,
    /// The average map of patches.
    pub map: Both<Map>,
    /// The average map of all tokens, `[tokens, tokens]`.
    pub token_map: Vec<f64>,
}

impl Cosines {
    fn new(heads: usize) -> Self {
        Self { sums: vec![0.0; heads * heads], count: 0.0 }
    }

    /// Takes the scalar products of some rows of all heads; what has no length is like nothing, not even itself.
    fn add(&mut self, products: &[f64], heads: usize) {
        for (index, sum) in self.sums.iter_mut().enumerate() {
            let (one, other) = (index / heads, index % heads);
            let lengths = (products[one * heads + one] * products[other * heads + other]).sqrt();
            if lengths > 0.0 {
                *sum += products[index] / lengths;
            }
        }
        self.count += 1.0;
    }

    fn merge(&mut self, other: &Self) {
        merge(&mut self.sums, &other.sums);
        self.count += other.count;
    }

    fn mean(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| sum / self.count.max(1.0)).collect()
    }
}

/// The rows of all heads for one query.
struct Rows {
    /// `[heads, patches]`, zero for what is no part of the image.
    patches: Vec<f64>,
    /// `[heads, others]`: weights of all other tokens.
    others: Vec<f64>,
    /// `[heads, heads]`.
    products: Vec<f64>,
    joined: Vec<f64>,
    flat: Vec<f64>,
}

impl Sums {
    /// Nothing seen yet.
    pub fn new(geometry: &Geometry) -> Self {
        let (heads, patches, tokens) = (geometry.heads, geometry.patches(), geometry.tokens);
        Self {
            plain: vec![0.0; heads],
            renormalised: vec![0.0; heads],
            queries: 0.0,
            weighted: vec![0.0; heads],
            patches: Cosines::new(heads),
            all: Cosines::new(heads),
            whole: Cosines::new(heads),
            plain_map: vec![0.0; patches * patches],
            renormalised_map: vec![0.0; patches * patches],
            token_map: vec![0.0; tokens * tokens],
            seen: vec![0.0; tokens],
        }
    }

    /// Takes the weights of some images, `[images * windows, heads, tokens, tokens]` in row-major order.
    pub fn add(&mut self, geometry: &Geometry, weights: &[f32]) {
        let Geometry { heads, tokens, prefix, .. } = *geometry;
        let size = heads * tokens * tokens;
        let patches = geometry.patches();
        let mut rows = Rows {
            patches: vec![0.0; heads * patches],
            others: vec![0.0; heads * tokens],
            products: vec![0.0; heads * heads],
            joined: vec![0.0; heads * heads],
            flat: vec![0.0; heads * heads],
        };
        for (index, block) in weights.chunks_exact(size).enumerate() {
            let window = index % geometry.windows();
            rows.flat.fill(0.0);
            for query in 0..tokens {
                let patch = query.checked_sub(prefix);
                if patch.is_none_or(|patch| geometry.real[window][patch]) {
                    rows.read(geometry, window, block, query);
                    self.add_query(geometry, window, query, &mut rows);
                }
            }
            self.whole.add(&rows.flat, heads);
        }
    }

    fn add_query(&mut self, geometry: &Geometry, window: usize, query: usize, rows: &mut Rows) {
        let (heads, tokens, patches) = (geometry.heads, geometry.tokens, geometry.patches());
        rows.multiply(heads);
        self.all.add(&rows.joined, heads);
        self.seen[query] += 1.0;
        let joined = &mut self.token_map[query * tokens..][..tokens];
        for row in rows.others.chunks_exact(tokens) {
            merge(joined, row);
        }
        for row in rows.patches.chunks_exact(patches) {
            merge(&mut joined[geometry.prefix..], row);
        }
        let Some(patch) = query.checked_sub(geometry.prefix) else { return };
        self.patches.add(&rows.products, heads);
        self.queries += 1.0;
        let distances = &geometry.distances[window][patch * patches..][..patches];
        for (head, row) in rows.patches.chunks_exact(patches).enumerate() {
            let (weight, distance) = (row.iter().sum::<f64>(), dot(row, distances));
            self.plain[head] += distance;
            merge(&mut self.plain_map[patch * patches..][..patches], row);
            if weight > 0.0 {
                self.renormalised[head] += distance / weight;
                self.weighted[head] += 1.0;
                let map = &mut self.renormalised_map[patch * patches..][..patches];
                map.iter_mut().zip(row).for_each(|(sum, value)| *sum += value / weight);
            }
        }
    }

    /// Adds the sums of later images.
    pub fn merge(&mut self, later: &Self) {
        for (sums, others) in [
            (&mut self.plain, &later.plain),
            (&mut self.renormalised, &later.renormalised),
            (&mut self.weighted, &later.weighted),
            (&mut self.plain_map, &later.plain_map),
            (&mut self.renormalised_map, &later.renormalised_map),
            (&mut self.token_map, &later.token_map),
            (&mut self.seen, &later.seen),
        ] {
            merge(sums, others);
        }
        self.queries += later.queries;
        self.patches.merge(&later.patches);
        self.all.merge(&later.all);
        self.whole.merge(&later.whole);
    }

    /// The means.
    pub fn found(&self, geometry: &Geometry) -> Found {
        let (tokens, patches) = (geometry.tokens, geometry.patches());
        let heads = geometry.heads as f64;
        let mean = |sums: &[f64], wide: usize, seen: &[f64]| -> Vec<f64> {
            let row = |(row, seen): (&[f64], &f64)| -> Vec<f64> {
                row.iter().map(|sum| sum / (seen * heads).max(1.0)).collect()
            };
            sums.chunks_exact(wide).zip(seen).flat_map(row).collect()
        };
        let of_patches =
            |sums: &[f64]| Map { window: geometry.window, values: mean(sums, patches, &self.seen[geometry.prefix..]) };
        let weighted = self.renormalised.iter().zip(&self.weighted);
        Found {
            distance: Both {
                renormalised: weighted.map(|(sum, count)| sum / count.max(1.0)).collect(),
                plain: self.plain.iter().map(|sum| sum / self.queries.max(1.0)).collect(),
            },
            patches: self.patches.mean(),
            all: self.all.mean(),
            whole: self.whole.mean(),
            map: Both { renormalised: of_patches(&self.renormalised_map), plain: of_patches(&self.plain_map) },
            token_map: mean(&self.token_map, tokens, &self.seen),
        }
    }
}

impl Found {
    /// How alike the heads are.
    pub fn similarity(&self) -> SimilarityRecord {
        let heads = self.distance.plain.len();
        let mean = |cosines: &[f64]| {
            let pairs = (0..heads).flat_map(|one| (one + 1..heads).map(move |other| (one, other)));
            let (sum, count) =
                pairs.fold((0.0, 0), |(sum, count), (one, other)| (sum + cosines[one * heads + other], count + 1));
            (count > 0).then(|| sum / f64::from(count))
        };
        let of_head = |head: usize| {
            let others = (0..heads).filter(|other| *other != head);
            others.map(|other| self.patches[head * heads + other]).sum::<f64>() / (heads - 1) as f64
        };
        SimilarityRecord {
            heads: if heads > 1 { (0..heads).map(of_head).collect() } else { Vec::new() },
            mean: mean(&self.patches),
            mean_of_all_tokens: mean(&self.all),
            mean_of_whole_maps: mean(&self.whole),
        }
    }

    /// The shape of the average map.
    pub fn shape(&self) -> Both<MapRecord> {
        let shape = |map: &Map| MapRecord {
            diagonality: map.diagonality(),
            columnness: map.columnness(),
            translation: map.translation(),
        };
        Both { renormalised: shape(&self.map.renormalised), plain: shape(&self.map.plain) }
    }
}

impl Rows {
    /// The rows of a query in a window.
    fn read(&mut self, geometry: &Geometry, window: usize, block: &[f32], query: usize) {
        let Geometry { tokens, prefix, .. } = *geometry;
        let (patches, real) = (geometry.patches(), &geometry.real[window]);
        self.others.fill(0.0);
        for head in 0..geometry.heads {
            let row = &block[(head * tokens + query) * tokens..][..tokens];
            let (own, others) = (&mut self.patches[head * patches..][..patches], &mut self.others[head * tokens..]);
            for (key, &weight) in row.iter().enumerate() {
                match key.checked_sub(prefix) {
                    Some(patch) if real[patch] => own[patch] = f64::from(weight),
                    Some(patch) => {
                        own[patch] = 0.0;
                        others[key] = f64::from(weight);
                    }
                    None => others[key] = f64::from(weight),
                }
            }
        }
    }

    /// The scalar products of the heads' rows: over patches, over all tokens, and added to those of whole maps.
    fn multiply(&mut self, heads: usize) {
        let (patches, tokens) = (self.patches.len() / heads, self.others.len() / heads);
        for one in 0..heads {
            for other in 0..=one {
                let [a, b] = [one, other].map(|head| &self.patches[head * patches..][..patches]);
                let [c, d] = [one, other].map(|head| &self.others[head * tokens..][..tokens]);
                let near = dot(a, b);
                let whole = near + dot(c, d);
                for at in [one * heads + other, other * heads + one] {
                    self.products[at] = near;
                    self.joined[at] = whole;
                }
                self.flat[one * heads + other] += whole;
                if one != other {
                    self.flat[other * heads + one] += whole;
                }
            }
        }
    }
}

fn merge(sums: &mut [f64], others: &[f64]) {
    sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
}

/// The scalar product in eight partial sums, which the compiler can turn into vectors.
fn dot(one: &[f64], other: &[f64]) -> f64 {
    let (mut parts, ends) = ([0.0; 8], one.len() / 8 * 8);
    for (a, b) in one[..ends].chunks_exact(8).zip(other.chunks_exact(8)) {
        for ((part, a), b) in parts.iter_mut().zip(a).zip(b) {
            *part += a * b;
        }
    }
    let rest: f64 = one[ends..].iter().zip(&other[ends..]).map(|(a, b)| a * b).sum();
    parts.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use robustify_zoo::AttentionLayer;

    use super::*;

    /// Four patches of ten pixels in a square, behind one token.
    fn geometry(heads: usize) -> Geometry {
        let places = vec![(0..4).map(|patch| Some([patch / 2, patch % 2])).collect()];
        Geometry::new(&AttentionLayer { name: "a".into(), heads, pixels: 10, prefix: 1, window: [2, 2], places })
    }

    /// Weights of one image by head, query and key.
    fn weights(heads: usize, weight: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
        (0..heads * 25).map(|at| weight(at / 25, at / 5 % 5, at % 5)).collect()
    }

    #[test]
    fn attention_of_known_shape_has_the_statistics_of_its_definition() {
        let geometry = geometry(2);
        let mut sums = Sums::new(&geometry);
        // The first head looks at itself, the second evenly at all five tokens.
        let equal = |query: usize, key: usize| f32::from(u8::from(query == key));
        sums.add(&geometry, &weights(2, |head, query, key| if head == 0 { equal(query, key) } else { 0.2 }));
        let found = sums.found(&geometry);
        // From a corner of a square of side 10 the others are 0, 10, 10 and 14.14 away; a fifth each, or a quarter without the class token.
        let away = 20.0 + 200.0_f64.sqrt();
        let near = |got: &[f64], want: &[f64]| got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6);
        assert!(near(&found.distance.plain, &[0.0, away / 5.0]), "{found:?}");
        assert!(near(&found.distance.renormalised, &[0.0, away / 4.0]), "{found:?}");
        assert!(near(&[geometry.uniform()], &[away / 4.0]));
        // One of four equal weights is where the first head looks; of all five tokens it is one of five.
        assert!(near(&found.patches, &[1.0, 0.5, 0.5, 1.0]), "{found:?}");
        let other = 1.0 / 5.0_f64.sqrt();
        assert!(near(&found.all, &[1.0, other, other, 1.0]) && near(&found.whole, &[1.0, other, other, 1.0]));
        // The mean of the two maps: half of one and a half of a quarter on the diagonal.
        let Map { values, .. } = &found.map.renormalised;
        assert!(
            near(&values[..4], &[0.625, 0.125, 0.125, 0.125]) && near(&found.token_map[..2], &[0.6, 0.1]),
            "{found:?}"
        );
        let similarity = found.similarity();
        assert!(near(&similarity.heads, &[0.5, 0.5]) && near(&[similarity.mean.unwrap()], &[0.5]));
    }

    #[test]
    fn images_add_up_in_any_number_of_parts_and_registers_take_no_part() {
        let geometry = geometry(2);
        let images: Vec<Vec<f32>> = (0..3)
            .map(|image| {
                let raw =
                    weights(2, |head, query, key| 1.0 + ((image * 7 + head * 5 + query * 3 + key * 2) % 11) as f32);
                raw.chunks_exact(5).flat_map(|row| row.iter().map(|value| value / row.iter().sum::<f32>())).collect()
            })
            .collect();
        let mut whole = Sums::new(&geometry);
        whole.add(&geometry, &images.concat());
        let mut parts = Sums::new(&geometry);
        for image in &images {
            let mut one = Sums::new(&geometry);
            one.add(&geometry, image);
            parts.merge(&one);
        }
        let (whole, parts) = (whole.found(&geometry), parts.found(&geometry));
        assert!(whole.patches.iter().zip(&parts.patches).all(|(a, b)| (a - b).abs() < 1e-12));
        assert!(whole.token_map.iter().zip(&parts.token_map).all(|(a, b)| (a - b).abs() < 1e-12));
        // A row of the renormalised map has all its weight on patches, one of the plain map has not.
        let sum = |map: &Map| map.values[..4].iter().sum::<f64>();
        assert!((sum(&whole.map.renormalised) - 1.0).abs() < 1e-6 && sum(&whole.map.plain) < 0.95);
    }
}
