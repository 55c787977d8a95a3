//! The matrices of a site as plain numbers, whatever they are stored in.

use crate::{Error, SiteId};
use ndarray::Array2;
use rayon::prelude::*;
use scant_tensor_core::compress::Weights;
use scant_tensor_core::format::{Dense, DenseType};
use scant_tensor_core::{Linear, Post, Pre, Site};

/// The matrices and biases of a site in f32.
pub(crate) struct Plain {
    pub(crate) matrices: Vec<Array2<f32>>,
    pub(crate) biases: Vec<Option<Vec<f32>>>,
}

impl Plain {
    pub(crate) fn of(id: SiteId, site: &Site) -> Result<Plain, Error> {
        Plain::read(site).map_err(|source| Error::Site { site: id, source })
    }

    pub(crate) fn read(site: &Site) -> Result<Plain, scant_tensor_core::Error> {
        let matrix = |i: usize| {
            let mut w = Array2::zeros((site.linears()[i].shape()[0], site.inputs()));
            let rows: Vec<_> = w.rows_mut().into_iter().enumerate().collect();
            rows.into_par_iter().try_for_each(|(row, out)| site.row(i, row, out))?;
            Ok(w)
        };
        let matrices = (0..site.linears().len()).map(matrix).collect::<Result<_, scant_tensor_core::Error>>()?;
        Ok(Plain { matrices, biases: site.linears().iter().map(|l| l.bias().map(<[f32]>::to_vec)).collect() })
    }

    /// As methods take them.
    pub(crate) fn into_weights(self, names: Vec<String>) -> Vec<Weights> {
        let all = names.into_iter().zip(self.matrices).zip(self.biases);
        all.map(|((name, weights), bias)| Weights { name, weights, bias }).collect()
    }

    pub(crate) fn into_site(self, id: SiteId) -> Result<Site, Error> {
        let linear = |(w, bias): (Array2<f32>, Option<Vec<f32>>)| {
            let dense = Dense::new(w.view(), DenseType::F32)?;
            Linear::new(vec![dense.into()], Post::None, bias)
        };
        let linears = self.matrices.into_iter().zip(self.biases).map(linear).collect::<Result<_, _>>();
        linears.and_then(|linears| Site::new(Pre::none(), linears)).map_err(|source| Error::Site { site: id, source })
    }
}
