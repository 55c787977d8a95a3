//! What is known of each model: a row of the table, a point of the plot.

use scant_eval::Comparison;
use scant_examples::judge::Speed;
use scant_examples::svg::{Plot, Scale, Series};
use scant_examples::table::Table;
use scant_transformer::{Model, SiteId};

/// Whatever goes wrong ends the program.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A model and its figures.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) model: Model,
    /// Bytes of the saved file: matrices, norms, vocabulary and all.
    pub(crate) bytes: u64,
    /// Against the reference; the reference has none.
    pub(crate) quality: Option<Comparison>,
    pub(crate) speed: Option<Speed>,
    seconds: f64,
}

impl Row {
    pub(crate) fn new(name: String, model: Model, seconds: f64) -> Result<Row> {
        let bytes = model.to_bytes()?.len() as u64;
        Ok(Row { name, model, bytes, quality: None, speed: None, seconds })
    }

    /// Bits per weight of the blocks' matrices: those that methods compress, and nothing else.
    fn linear_bits(&self) -> f64 {
        let sites = self.model.sites().filter(|id| *id != SiteId::Head).map(|id| self.model.site(id));
        let (mut bytes, mut weights) = (0, 0);
        for site in sites {
            bytes += site.footprint().total();
            weights += site.linears().iter().map(|l| l.shape()[0] * l.shape()[1]).sum::<usize>();
        }
        8.0 * bytes as f64 / weights as f64
    }

    fn megabytes(&self) -> f64 {
        self.bytes as f64 / 1e6
    }
}

/// The table; the first row is the reference.
pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new([
        "method",
        "linear bpp",
        "file bpp",
        "MB",
        "perplexity",
        "KL",
        "95 % interval",
        "top-1 %",
        "prefill tok/s",
        "decode tok/s",
        "seconds",
    ]);
    let reference = rows.iter().find_map(|r| r.quality.as_ref()).map_or(f64::NAN, Comparison::reference_perplexity);
    for row in rows {
        let (perplexity, kl, interval, agreement) = match &row.quality {
            None => (reference, "-".to_owned(), "-".to_owned(), "-".to_owned()),
            Some(q) => {
                let kl = q.kl();
                let agreement = format!("{:.2}", 100.0 * q.agreement().mean);
                (q.perplexity(), format!("{:.5}", kl.mean), format!("{:.5} to {:.5}", kl.low, kl.high), agreement)
            }
        };
        let rate = |f: fn(&Speed) -> f64| row.speed.as_ref().map_or(String::new(), |s| format!("{:.0}", f(s)));
        table.row([
            row.name.clone(),
            format!("{:.3}", row.linear_bits()),
            format!("{:.3}", 8.0 * row.bytes as f64 / row.model.parameters() as f64),
            format!("{:.2}", row.megabytes()),
            format!("{perplexity:.3}"),
            kl,
            interval,
            agreement,
            rate(|s| s.prefill),
            rate(|s| s.decode),
            if row.quality.is_none() { "-".to_owned() } else { format!("{:.1}", row.seconds) },
        ]);
    }
    table
}

/// How much nearer than `rtn` methods are whose names differ in nothing else, a line each.
pub(crate) fn beside_rtn(rows: &[Row]) -> String {
    let rounded = |rest: &str| rows.iter().find(|r| r.name.strip_prefix("rtn-") == Some(rest)).and_then(|r| r.quality.as_ref());
    let line = |row: &Row| {
        let (family, rest) = row.name.split_once('-').filter(|(family, _)| *family != "rtn")?;
        let difference = row.quality.as_ref()?.kl_less(rounded(rest)?);
        Some(format!("  {family}-{rest}: {difference:.5}"))
    };
    rows.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// KL against size, a line for each family of methods.
pub(crate) fn plot(rows: &[Row]) -> Plot {
    let mut series: Vec<Series> = vec![];
    for row in rows {
        let Some(quality) = &row.quality else { continue };
        let (family, rest) = row.name.split_once('-').unwrap_or((&row.name, ""));
        let point = (row.megabytes(), quality.kl().mean, rest.to_owned());
        match series.iter_mut().find(|s| s.name == family) {
            Some(s) => s.points.push(point),
            None => series.push(Series { name: family.to_owned(), points: vec![point] }),
        }
    }
    series.iter_mut().for_each(|s| s.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    let size = rows.first().map_or(0.0, Row::megabytes);
    Plot {
        title: "How far from the uncompressed model".to_owned(),
        x: format!("size of the file in MB (uncompressed: {size:.2})"),
        y: "KL divergence in nats a token".to_owned(),
        scales: (Scale::Linear, Scale::Log),
        series,
    }
}
