//! MiniLM and SPLADE-tiny on the classic collections, in f32 and with 8-bit weights and activations.

use crate::{CRANFIELD, MINILM, Result, SPLADE};
use scant_eval::retrieval::{Collection, Document, Gain, search_dense, search_sparse};
use scant_examples::data::real;
use scant_quant::Rtn;
use scant_quant::grid::{GridParams, Zero};
use scant_tensor_core::compress::Compress;
use scant_tensor_core::{Ctx, Mode, isa::Isa, team::Team};
use scant_transformer::Path;
use scant_transformer::encoder::{Encoder, EncoderPlan, SparseVector, Workspace};

/// How a run computes.
#[derive(Clone, Copy)]
struct How {
    mode: Mode,
    path: Path,
}

const F32: How = How { mode: Mode::Exact, path: Path::Dense };
const INT8: How = How { mode: Mode::Fast, path: Path::Panel };

/// The nDCG@10 of the reference.
const MINILM_NDCG: f64 = 0.3986;
const SPLADE_NDCG: f64 = 0.3752;

pub(crate) fn run() -> Result<()> {
    let team = Team::new(std::thread::available_parallelism()?.get());
    let collection = cranfield()?;
    let minilm = open(MINILM)?;
    let exact = dense(&minilm, &collection, F32, &team)?;
    close("MiniLM, f32: nDCG@10", exact, MINILM_NDCG, 0.002)?;
    close("MiniLM, int8: nDCG@10", dense(&int8(&minilm, &team)?, &collection, INT8, &team)?, exact, 0.005)?;

    let splade = open(SPLADE)?;
    let exact = sparse(&splade, &collection, 200, F32, &team)?;
    close("SPLADE-tiny, f32: nDCG@10", exact.ndcg, SPLADE_NDCG, 0.002)?;
    close("terms of a document", exact.document_terms, 219.5, 0.1)?;
    close("terms of a query", exact.query_terms, 58.1, 0.1)?;
    let small = sparse(&int8(&splade, &team)?, &collection, 200, INT8, &team)?;
    close("SPLADE-tiny, int8: nDCG@10", small.ndcg, exact.ndcg, 0.005)
}

/// The shapes of sparse vectors that another program found, with 128 tokens.
pub(crate) fn shapes() -> Result<()> {
    let team = Team::new(std::thread::available_parallelism()?.get());
    let splade = open(SPLADE)?;
    let vaswani = files("vaswani", ["doc-text.trec", "query-text.trec", "qrels"])?;
    let vaswani = Collection::trec(&vaswani[0], &vaswani[1], &vaswani[2])?;
    let cisi = files("cisi", ["CISI.ALL", "CISI.QRY", "CISI.REL"])?;
    let cisi = Collection::smart(&cisi[0], &cisi[1], &cisi[2])?;
    let rows = [
        ("Vaswani", vaswani, [87.6, 22.4, 2.52, 0.3732]),
        ("Cranfield", cranfield()?, [193.3, 58.1, 10.97, 0.3651]),
        ("CISI", cisi, [187.2, 129.8, 18.9, 0.2872]),
    ];
    for (name, collection, [document_terms, query_terms, shared, ndcg]) in rows {
        let got = sparse(&splade, &collection, 128, F32, &team)?;
        close(&format!("{name}: terms of a document"), got.document_terms, document_terms, 0.1)?;
        close(&format!("{name}: terms of a query"), got.query_terms, query_terms, 0.1)?;
        close(&format!("{name}: terms that the two share"), got.shared_terms, shared, 0.05)?;
        close(&format!("{name}: nDCG@10"), got.ndcg, ndcg, 0.002)?;
    }
    Ok(())
}

fn open(folder: &str) -> Result<Encoder> {
    Ok(Encoder::open(real(folder)?)?)
}

fn files<const N: usize>(folder: &str, names: [&str; N]) -> Result<Vec<String>> {
    names.iter().map(|name| Ok(std::fs::read_to_string(real(&format!("{folder}/{name}"))?)?)).collect()
}

pub(crate) fn cranfield() -> Result<Collection> {
    let text = CRANFIELD.iter().map(|file| Ok(std::fs::read_to_string(real(file)?)?)).collect::<Result<Vec<_>>>()?;
    Ok(Collection::cranfield(&text[0], &text[1], &text[2])?)
}

/// Every matrix, tables included, in 8 bits, symmetric, with a scale for each 128 columns.
fn int8(encoder: &Encoder, team: &Team) -> Result<Encoder> {
    let rtn = || vec![Box::new(Rtn::from(GridParams::new(8, 128).zero(Zero::Symmetric))) as Box<dyn Compress>];
    let plan = EncoderPlan { methods: rtn(), tables: rtn() };
    let (small, _) = encoder.compress(None, &plan, team, &())?;
    println!("   {:.1} MB become {:.1} MB", encoder.footprint().total() as f64 / 1e6, small.footprint().total() as f64 / 1e6);
    Ok(small)
}

fn texts(documents: &[Document]) -> Vec<&str> {
    documents.iter().map(|d| d.text.as_str()).collect()
}

/// nDCG@10 of unit vectors, texts cut to 128 tokens.
fn dense(encoder: &Encoder, collection: &Collection, how: How, team: &Team) -> Result<f64> {
    let ctx = Ctx { isa: Isa::best(), mode: how.mode, team };
    let mut ws = Workspace::default();
    let mut embed = |documents: &[Document]| encoder.embed(&ctx, how.path, &encoder.batch(&texts(documents), 128)?, &mut ws);
    let (documents, queries) = (embed(&collection.documents)?, embed(&collection.queries)?);
    let ranked = search_dense(documents.view(), queries.view(), 10);
    Ok(collection.ndcg(&ranked, 10, Gain::Binary)?.mean)
}

/// What sparse vectors of a collection are like.
struct Sparse {
    ndcg: f64,
    document_terms: f64,
    query_terms: f64,
    /// Of a document and a query, in the mean over all pairs.
    shared_terms: f64,
}

fn sparse(encoder: &Encoder, collection: &Collection, tokens: usize, how: How, team: &Team) -> Result<Sparse> {
    let ctx = Ctx { isa: Isa::best(), mode: how.mode, team };
    let mut ws = Workspace::default();
    let mut encode = |documents: &[Document]| encoder.splade(&ctx, how.path, &encoder.batch(&texts(documents), tokens)?, &mut ws);
    let (documents, queries) = (encode(&collection.documents)?, encode(&collection.queries)?);
    let mean = |vectors: &[SparseVector]| vectors.iter().map(|v| v.terms.len()).sum::<usize>() as f64 / vectors.len() as f64;
    let shares = |vectors: &[SparseVector]| {
        let mut counts = vec![0.0; encoder.config().vocabulary];
        vectors.iter().flat_map(|v| &v.terms).for_each(|term| counts[*term as usize] += 1.0 / vectors.len() as f64);
        counts
    };
    let (document_terms, query_terms) = (mean(&documents), mean(&queries));
    let shared_terms = shares(&documents).iter().zip(shares(&queries)).map(|(a, b)| a * b).sum();
    let pairs = |vectors: Vec<SparseVector>| vectors.into_iter().map(|v| v.terms.into_iter().zip(v.weights).collect()).collect::<Vec<_>>();
    let ranked = search_sparse(&pairs(documents), &pairs(queries), 10);
    Ok(Sparse { ndcg: collection.ndcg(&ranked, 10, Gain::Binary)?.mean, document_terms, query_terms, shared_terms })
}

fn close(what: &str, got: f64, want: f64, within: f64) -> Result<()> {
    println!("   {what} {got:.4}, wanted {want:.4} within {within}");
    if (got - want).abs() <= within { Ok(()) } else { Err(format!("{what} is {got:.4}, not {want:.4} within {within}").into()) }
}
