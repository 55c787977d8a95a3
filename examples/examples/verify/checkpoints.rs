//! Matrices packed by the Python packages, read and written again.

use crate::Result;
use ndarray::{Array2, Axis};
use scant_quant::checkpoint::{Format, Quantization};
use scant_tensor_core::file::File;
use std::path::Path;
use std::process::Command;

const PROGRAM: &str = include_str!("checkpoints.py");

pub(crate) fn run() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("scant-verify-checkpoints-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = in_folder(&folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn in_folder(folder: &Path) -> Result<()> {
    let python = std::env::var("SCANT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let said = Command::new(&python).arg("-c").arg(PROGRAM).arg(folder).output().map_err(|e| format!("SCANT_PYTHON: {python}: {e}"))?;
    if !said.status.success() {
        let errors = String::from_utf8_lossy(&said.stderr);
        let last = errors.lines().last().unwrap_or("nothing").to_owned();
        return Err(format!("{python} with torch, compressed-tensors, and auto-gptq and autoawq without their dependencies: {last}").into());
    }
    let (mut read, mut written) = (0, 0);
    for line in String::from_utf8(said.stdout)?.lines() {
        let (name, config) = line.split_once(' ').ok_or_else(|| format!("`{line}` is not a name and a configuration"))?;
        let file = File::read(folder.join(format!("{name}.safetensors")))?;
        let again = one(&file, &Quantization::parse(&serde_json::from_str(config)?)?).map_err(|e| format!("{name}: {e}"))?;
        read += 1;
        written += usize::from(again);
    }
    println!("   {read} matrices decoded as the packages do, bit for bit; {written} written with the packages' bytes");
    if (read, written) == (38, 30) { Ok(()) } else { Err("38 and 30 are wanted".into()) }
}

/// Whether it was written again too; those with columns in an order of their own, and bytes instead of words, are only read.
fn one(file: &File, q: &Quantization) -> Result<bool> {
    let want = file.tensor("want")?;
    let [m, n] = want.shape[..] else { return Err("`want` is no matrix".into()) };
    let want = Array2::from_shape_vec((m, n), want.typed::<f32>()?.to_vec())?;
    let matrix = q.read("m", [m, n], &|name| file.tensor(name).ok())?;
    let got = matrix.grid.to_dense();
    for (j, column) in got.axis_iter(Axis(1)).enumerate() {
        let input = matrix.order.as_ref().map_or(j, |order| order[j] as usize);
        if let Some(i) = (0..m).find(|i| column[*i] != want[[*i, input]]) {
            return Err(format!("row {i}, input {input}: {} here, {} there", column[i], want[[i, input]]).into());
        }
    }
    if matrix.order.is_some() || q.format == Format::Int8 {
        return Ok(false);
    }
    for packed in q.write("m", &matrix.grid)? {
        let theirs = file.tensor(&format!("m.{}", packed.part))?;
        if theirs.shape != packed.shape || theirs.dtype != packed.dtype || theirs.bytes[..] != packed.bytes[..] {
            return Err(format!("`{}` is written otherwise: {:?} here, {:?} there", packed.part, packed.shape, theirs.shape).into());
        }
    }
    Ok(true)
}
