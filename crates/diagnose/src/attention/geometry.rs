//! Where the patches of a layer lie, and how far apart they are.

use robustify_zoo::AttentionLayer;

/// What the statistics of a layer need to know of its tokens. Tokens that are no patches (class, distillation and register tokens,
/// prompts, and what fills a window up) take no part in distances and maps.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Heads of the layer.
    pub heads: usize,
    /// Tokens of a window.
    pub tokens: usize,
    /// Tokens before the patches.
    pub prefix: usize,
    /// Rows and columns of patches of a window.
    pub window: [usize; 2],
    /// For every window, which of its patches are parts of the image.
    pub real: Vec<Vec<bool>>,
    /// For every window the distance in pixels of its patches in the image, `[patches, patches]`. A window that a shift has put
    /// together of parts from two edges thus has its distances in the image; elsewhere they are those within the window.
    pub distances: Vec<Vec<f64>>,
}

impl Geometry {
    /// Of a layer.
    pub fn new(layer: &AttentionLayer) -> Self {
        let distances = |places: &Vec<Option<[usize; 2]>>| {
            let distance = |from: &Option<[usize; 2]>, to: &Option<[usize; 2]>| match (from, to) {
                (Some(from), Some(to)) => {
                    let [rows, columns] = [0, 1].map(|axis| from[axis].abs_diff(to[axis]) as f64);
                    rows.hypot(columns) * layer.pixels as f64
                }
                _ => 0.0,
            };
            places.iter().flat_map(|from| places.iter().map(move |to| distance(from, to))).collect()
        };
        Self {
            heads: layer.heads,
            tokens: layer.tokens(),
            prefix: layer.prefix,
            window: layer.window,
            real: layer.places.iter().map(|places| places.iter().map(Option::is_some).collect()).collect(),
            distances: layer.places.iter().map(distances).collect(),
        }
    }

    /// Patches of a window.
    pub fn patches(&self) -> usize {
        self.window[0] * self.window[1]
    }

    /// Windows of an image.
    pub fn windows(&self) -> usize {
        self.real.len()
    }

    /// The distance of attention that looks at all patches of its window evenly, in pixels, averaged over queries.
    pub fn uniform(&self) -> f64 {
        let of_window = |(distances, real): (&Vec<f64>, &Vec<bool>)| {
            let there = real.iter().filter(|real| **real).count();
            // Distances of what is no part of the image are zero.
            (distances.iter().sum::<f64>() / there.max(1) as f64, there)
        };
        let windows: Vec<(f64, usize)> = self.distances.iter().zip(&self.real).map(of_window).collect();
        let queries: usize = windows.iter().map(|(_, there)| there).sum();
        windows.iter().map(|(sum, _)| sum).sum::<f64>() / queries.max(1) as f64
    }

    /// Weights that a forward computes for an image.
    pub fn weights(&self) -> usize {
        self.windows() * self.heads * self.tokens * self.tokens
    }
}

#[cfg(test)]
mod tests {
    use robustify_zoo::ModelConfig;

    use super::*;

    #[test]
    fn shifted_windows_have_the_distances_of_the_image() {
        let config: ModelConfig = serde_json::from_str(
            r#"{"architecture": "swin", "version": "v1", "image_size": 32, "width": 8, "depths": [2, 2], "heads": [1, 2],
                "windows": [4, 4], "classes": 2}"#,
        )
        .unwrap();
        let layers: Vec<Geometry> = config.attention().iter().map(Geometry::new).collect();
        let [plain, shifted, merged, _] = layers.as_slice() else { panic!("four blocks") };
        // Eight patches of 4 pixels along a side, in four windows; the last window of a row holds its last two and its first two.
        assert_eq!((plain.windows(), plain.tokens, plain.distances[3][2]), (4, 16, 8.0));
        assert_eq!((shifted.distances[0][2], shifted.distances[1][2]), (8.0, 24.0));
        // After the merging one window holds the whole map, of patches of 8 pixels.
        assert_eq!((merged.windows(), merged.distances[0][1], merged.heads), (1, 8.0, 2));
        // A window's mean distance is the same wherever it lies, unless it is put together from two edges.
        assert!(shifted.uniform() > plain.uniform());
    }
}
