//! Tiny random models in both stored forms, against a naive reference, and against themselves run in other ways.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use ndarray::Array2;
use scant_kvcache::KvType;
use scant_tensor_core::{Ctx, Mode, isa::Isa, team::Team};
use scant_testkit::alloc::CountingAllocator;
use scant_transformer::{Model, Options, Path, Session, open};
use tiny::{Folder, Tiny};

mod compressing;
mod damaged;
mod encoder;
mod errors;
mod exported;
mod forms;
mod off_grid;
mod quantized;
mod reference;
mod running;
mod saved;
mod text;
mod tiny;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Thirty tokens of the tiny vocabulary.
fn tokens() -> Vec<u32> {
    (0..30).map(|i| (i * i + 7 * i) % 50).collect()
}

fn exact(team: &Team) -> Ctx<'_> {
    Ctx { isa: Isa::best(), mode: Mode::Exact, team }
}

const PANEL: Options = Options { path: Path::Panel, kv: KvType::F32, chunk: 512 };

fn from_gguf(bytes: &[u8]) -> Model {
    open(Folder::new().write("tiny.gguf", bytes)).unwrap()
}

/// Logits of every token, all at once.
fn logits(model: &Model, ctx: Ctx<'_>, options: Options, tokens: &[u32]) -> Array2<f32> {
    let mut out = Array2::zeros((tokens.len(), model.config().vocabulary));
    let mut rows = 0;
    let mut session = Session::new(model, ctx, options).unwrap();
    let mut take = |first: usize, logits: ndarray::ArrayView2<'_, f32>| {
        assert_eq!(first, rows);
        rows += logits.nrows();
        out.slice_mut(ndarray::s![first..rows, ..]).assign(&logits);
    };
    session.score(tokens, 7, &mut take).unwrap();
    assert_eq!(rows, tokens.len());
    out
}

fn largest_difference(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn models() -> [(&'static str, Tiny); 4] {
    [("llama", Tiny::llama()), ("llama with biases", Tiny::llama_with_biases()), ("qwen2", Tiny::qwen2()), ("gemma", Tiny::gemma())]
}
