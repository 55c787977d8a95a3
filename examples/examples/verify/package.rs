//! The public `gguf` Python package beside ours: files of others read by both, files of ours read by it.

use crate::{GEMMA, Result, SMOLLM2, STORIES};
use scant_examples::data::{embedded_model, real};
use scant_quant::gguf::{BlockType, File};
use scant_transformer::{Model, open};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

const PROGRAM: &str = include_str!("package.py");

pub(crate) fn read() -> Result<()> {
    for file in [SMOLLM2, GEMMA] {
        same(&real(file)?, file)?;
    }
    Ok(())
}

pub(crate) fn written() -> Result<()> {
    let source = File::read(real(STORIES)?)?;
    // One that carries its vocabulary over from a GGUF file, one whose vocabulary is made from a folder's.
    let models = [("stories260K", open(real(STORIES)?)?, Some(&source)), ("embedded", open(embedded_model())?, None)];
    let folder = std::env::temp_dir().join(format!("scant-verify-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let each = |name: &str, model: &Model, like| {
        [BlockType::F32, BlockType::F16, BlockType::Q8_0, BlockType::Q4_0, BlockType::Q4_1].into_iter().try_for_each(|to| {
            let path = folder.join(format!("{name}-{to}.gguf"));
            model.export_gguf(&path, to, like)?;
            same(&path, &format!("{name} written as {to}"))
        })
    };
    let result = models.iter().try_for_each(|(name, model, like)| each(name, model, *like));
    std::fs::remove_dir_all(&folder)?;
    result
}

/// Fails unless the package reads the same bits from every tensor.
fn same(path: &Path, name: &str) -> Result<()> {
    let ours = File::read(path)?;
    let python = std::env::var("SCANT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let run = Command::new(&python).arg("-c").arg(PROGRAM).arg(path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = run.map_err(|e| format!("SCANT_PYTHON: {python}: {e}"))?;
    let mut theirs = BufReader::new(child.stdout.take().ok_or("the interpreter has no output")?);
    let (mut tensors, mut numbers, mut line, mut bytes) = (0, 0, String::new(), vec![]);
    while theirs.read_line(&mut line)? > 0 {
        let (tensor, count) = line.trim_end().rsplit_once(' ').ok_or_else(|| format!("`{line}` is not a name and a count"))?;
        let want = ours.tensor(tensor)?.to_f32()?;
        bytes.resize(4 * count.parse::<usize>()?, 0);
        theirs.read_exact(&mut bytes)?;
        let got = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        if 4 * want.len() != bytes.len() {
            return Err(format!("{name}: tensor {tensor} has {} numbers, the package reads {count}", want.len()).into());
        }
        if let Some((i, (a, b))) = want.iter().zip(got).enumerate().find(|(_, (a, b))| a.to_bits() != *b) {
            return Err(format!("{name}: tensor {tensor}, number {i}: {a} here, {} there", f32::from_bits(b)).into());
        }
        tensors += 1;
        numbers += want.len();
        line.clear();
    }
    let result = child.wait_with_output()?;
    if !result.status.success() {
        let said = String::from_utf8_lossy(&result.stderr);
        let last = said.lines().last().unwrap_or("nothing");
        return Err(format!("{python} with the packages gguf and numpy ({}): {last}", result.status).into());
    }
    if tensors != ours.tensors().len() {
        return Err(format!("{name}: the package reads {tensors} tensors, there are {}", ours.tensors().len()).into());
    }
    println!("   {name}: {tensors} tensors, {numbers} equal numbers");
    Ok(())
}
