//! Tables of relative position biases: which entry each pair of tokens has, and tables for other grids.

use anyhow::{Context as _, Result, bail, ensure};
use robustify_zoo::swin::Windows;
use robustify_zoo::vit::{position_index, resize_relative_positions};

use crate::oracle::Oracle;

/// The entries of pairs of tokens, of patches with a class token (`cls_HxW`) and within windows (`nocls_NxN`).
pub fn index(oracle: &mut Oracle) -> Result<()> {
    for name in oracle.names("out.") {
        let (kind, grid) = name.trim_start_matches("out.").split_once('_').context("a name is like out.cls_4x4")?;
        let (height, width) = grid.split_once('x').context("a name is like out.cls_4x4")?;
        let grid: [usize; 2] = [height.parse()?, width.parse()?];
        let index = match kind {
            "cls" => position_index(grid),
            "nocls" => {
                ensure!(grid[0] == grid[1], "{name}: windows are squares");
                Windows::new(grid[0], grid[0], false).position_index()
            }
            other => bail!("{name}: `{other}` is neither cls nor nocls"),
        };
        oracle.expect(&name, &index.into_iter().map(|entry| entry as f64).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Tables for other grids.
pub fn interpolation(oracle: &mut Oracle) -> Result<()> {
    for name in oracle.names("in.") {
        let case = name.trim_start_matches("in.");
        let size = |key: &str| {
            let value = oracle.config[case][key].as_u64();
            value.map(|value| value as usize).with_context(|| format!("config.{case}.{key} is no count"))
        };
        let (from, to, heads) = (size("src_grid")?, size("dst_grid")?, size("heads")?);
        let table: Vec<f32> = oracle.values(&name)?.values.iter().map(|value| *value as f32).collect();
        let resized = resize_relative_positions(&table, heads, from, to).map_err(anyhow::Error::msg)?;
        oracle.expect(&format!("out.{case}"), &resized.into_iter().map(f64::from).collect::<Vec<_>>())?;
        let points = robustify_zoo::vit::relative_points(from, to);
        oracle.expect(&format!("out.src_coords.{case}"), &points)?;
    }
    Ok(())
}
