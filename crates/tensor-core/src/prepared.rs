//! What an input looks like to the kernels: made once per input, shared by every matrix and term that reads it.

use crate::error::Error;
use crate::format::BLOCK;
use crate::isa::Isa;
use crate::kernels;
use crate::transform::Pre;
use ndarray::ArrayView2;

/// How products treat activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// f32 activations and f32 weights.
    Exact,
    /// Activations rounded to 8 bits with one scale per 32 columns: about 0.5 % relative noise a layer, integer dot products.
    Fast,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Mode::Exact => "exact",
            Mode::Fast => "fast",
        })
    }
}

impl std::str::FromStr for Mode {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "exact" => Ok(Mode::Exact),
            "fast" => Ok(Mode::Fast),
            _ => Err(format!("mode `{s}` is unknown: choose exact or fast")),
        }
    }
}

/// What a term needs of its input besides the f32 values; united over a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// 8-bit codes in [`Mode::Fast`], and sums over columns in both modes.
    pub blocks: bool,
}

impl Wants {
    /// What either wants.
    pub fn union(self, other: Wants) -> Wants {
        Wants { blocks: self.blocks || other.blocks }
    }
}

/// Thirty-two values in 8 bits: one cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Block {
    /// Codes in -127..=127.
    pub(crate) codes: [i8; BLOCK],
    /// What a code is multiplied with.
    pub(crate) step: f32,
    /// Minus the sum of the codes: what centring the weights' codes takes.
    pub(crate) minus_int_sum: i32,
    /// The same of each half.
    pub(crate) minus_int_sums: [i32; 2],
    /// The sum of the codes times the step.
    pub(crate) sum: f32,
    /// The same of each half.
    pub(crate) sums: [f32; 2],
}

/// Tokens of a [`Batch`].
pub(crate) const BATCH: usize = 8;

/// The same block of eight tokens, side by side.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Batch {
    /// Codes in -127..=127.
    pub(crate) codes: [[i8; BLOCK]; BATCH],
    /// What a code is multiplied with.
    pub(crate) step: [f32; BATCH],
    /// The sum of the codes times the step.
    pub(crate) sum: [f32; BATCH],
    /// Minus the sum of the codes.
    pub(crate) minus: Minus,
    /// The same of each half.
    pub(crate) minus_halves: [Minus; 2],
    /// The sum of each half's codes times the step.
    pub(crate) sums: [[f32; BATCH]; 2],
}

/// An integer as a float, and times 128: what 8-bit codes start from.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Minus {
    pub(crate) float: [f32; BATCH],
    pub(crate) times_128: [i32; BATCH],
}

impl Minus {
    fn set(&mut self, t: usize, sum: i32) {
        (self.float[t], self.times_128[t]) = (sum as f32, sum << 7);
    }
}

impl Batch {
    fn set(&mut self, t: usize, block: &Block) {
        self.codes[t] = block.codes;
        self.step[t] = block.step;
        self.sum[t] = block.sum;
        self.minus.set(t, block.minus_int_sum);
        for half in 0..2 {
            self.minus_halves[half].set(t, block.minus_int_sums[half]);
            self.sums[half][t] = block.sums[half];
        }
    }
}

/// An input `[tokens, n]` behind its [`Pre`], padded to blocks of 32 columns. Owns its buffers, refilled for each input.
///
/// ```
/// use scant_tensor_core::{Mode, Pre, Prepared, Wants, isa::Isa};
/// let mut x = Prepared::new();
/// let input = ndarray::array![[1.0f32, -2.0, 0.5]];
/// x.fill(Isa::best(), Mode::Fast, &Pre::none(), Wants { blocks: true }, input.view())?;
/// assert_eq!((x.tokens(), x.columns()), (1, 3));
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Prepared {
    isa: Isa,
    mode: Mode,
    tokens: usize,
    n: usize,
    padded: usize,
    values: Vec<f32>,
    blocks: Vec<Block>,
    batches: Vec<Batch>,
    sums: Vec<f32>,
    filled: Wants,
}

impl Default for Prepared {
    fn default() -> Self {
        Prepared::new()
    }
}

impl Prepared {
    /// An empty one.
    pub fn new() -> Prepared {
        Prepared {
            isa: Isa::best(),
            mode: Mode::Exact,
            tokens: 0,
            n: 0,
            padded: 0,
            values: vec![],
            blocks: vec![],
            batches: vec![],
            sums: vec![],
            filled: Wants::default(),
        }
    }

    /// Prepares `x` `[tokens, n]`: applies `pre` and makes what `wants` says. O(tokens * n).
    ///
    /// # Errors
    /// [`Error::Shape`] if `pre` is for another number of columns.
    pub fn fill(&mut self, isa: Isa, mode: Mode, pre: &Pre, wants: Wants, x: ArrayView2<'_, f32>) -> Result<(), Error> {
        let (tokens, n) = x.dim();
        pre.check(n)?;
        let padded = n.next_multiple_of(BLOCK);
        (self.isa, self.mode, self.tokens, self.n, self.padded, self.filled) = (isa, mode, tokens, n, padded, wants);
        // Kernels walk the buffers as whole, so their lengths are exact.
        self.values.resize(tokens * padded, 0.0);
        for (row, out) in x.rows().into_iter().zip(self.values.chunks_exact_mut(padded)) {
            let (out, pad) = out.split_at_mut(n);
            match row.as_slice() {
                Some(row) => pre.apply(row, out),
                None => pre.apply(&row.to_vec(), out),
            }
            pad.fill(0.0);
        }
        if wants.blocks {
            let blocks = tokens * padded / BLOCK;
            match mode {
                Mode::Exact => {
                    self.sums.resize(2 * blocks, 0.0);
                    kernels::prepare::sums(isa, &self.values, &mut self.sums);
                }
                Mode::Fast => {
                    self.blocks.resize(blocks, Block::default());
                    kernels::prepare::quantize(isa, &self.values, &mut self.blocks);
                    self.gather_batches();
                }
            }
        }
        Ok(())
    }

    /// Copies the blocks of all tokens that are not to be taken alone into batches, `[batches, blocks]`.
    fn gather_batches(&mut self) {
        let per_token = self.padded / BLOCK;
        self.batches.resize(self.batches() * per_token, Batch::default());
        if per_token == 0 {
            return;
        }
        for (batch, tokens) in self.batches.chunks_exact_mut(per_token).zip(self.blocks.chunks(BATCH * per_token)) {
            for (t, blocks) in tokens.chunks_exact(per_token).enumerate() {
                batch.iter_mut().zip(blocks).for_each(|(batch, block)| batch.set(t, block));
            }
        }
    }

    /// Batches that take all tokens but one or two left over; the last may have empty places, whose results do not matter.
    pub(crate) fn batches(&self) -> usize {
        self.tokens / BATCH + usize::from(self.tokens % BATCH > 2)
    }

    /// The tier that kernels over this input run on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The mode it was prepared for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Number of rows of the input.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Columns of the input, without padding.
    pub fn columns(&self) -> usize {
        self.n
    }

    /// What was made besides the f32 values.
    pub fn filled(&self) -> Wants {
        self.filled
    }

    /// The f32 values of a token behind `Pre`, `[columns]`.
    #[inline]
    pub fn row(&self, token: usize) -> &[f32] {
        &self.values[token * self.padded..][..self.n]
    }

    /// The f32 values behind `Pre`, `[tokens, columns]`.
    pub fn values(&self) -> ArrayView2<'_, f32> {
        let all = ArrayView2::from_shape((self.tokens, self.padded), &self.values[..self.tokens * self.padded]);
        all.expect("`fill` sizes the buffer").slice_move(ndarray::s![.., ..self.n])
    }

    /// The f32 values of a token, zero-padded to whole blocks.
    #[inline(always)]
    pub(crate) fn padded_row(&self, token: usize) -> &[f32] {
        &self.values[token * self.padded..][..self.padded]
    }

    /// The blocks of a token, in Fast mode.
    #[inline(always)]
    pub(crate) fn blocks(&self, token: usize) -> &[Block] {
        &self.blocks[token * self.padded / BLOCK..][..self.padded / BLOCK]
    }

    /// The blocks of a batch of tokens, in Fast mode.
    #[inline(always)]
    pub(crate) fn batch(&self, batch: usize) -> &[Batch] {
        &self.batches[batch * self.padded / BLOCK..][..self.padded / BLOCK]
    }

    /// Sums of the values, per half block, in Exact mode.
    #[inline(always)]
    pub(crate) fn sums(&self, token: usize) -> &[f32] {
        &self.sums[token * self.padded / 16..][..self.padded / 16]
    }
}
