//! What a cache says of its heap is what the allocator saw, and decode takes none.

use half::f16;
use ndarray::{Array2, Array3};
use scant_kvcache::{Cache, CompressedLayer, DenseLayer, Geometry, KvLayer, KvType, Spec, Workspace};
use scant_tensor_core::{Ctx, Mode, isa::Isa, team::Team};
use scant_testkit::alloc::{CountingAllocator, measure};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn bytes_are_those_of_the_allocator() {
    for window in [None, Some(100)] {
        let mut geometry = Geometry::new(4, 2, 24).unwrap();
        geometry.window = window;
        let (layer, heap) = measure(|| {
            let mut layer = DenseLayer::<f16>::new(geometry).unwrap();
            for _ in 0..7 {
                layer.append(Array3::ones((100, 2, 24)).view(), Array3::ones((100, 2, 24)).view()).unwrap();
            }
            layer
        });
        let bytes = layer.bytes();
        assert_eq!(bytes.total(), heap.kept as u64, "{window:?}");
        if window.is_none() {
            assert_eq!((bytes.keys, bytes.values), (700 * 2 * 24 * 2, 700 * 2 * 24 * 2));
        }
    }
}

#[test]
fn a_token_takes_no_heap_once_there_is_room() {
    let geometry = Geometry::new(4, 2, 16).unwrap();
    let mut cache = Cache::of(&[geometry; 2], KvType::F16, &[]).unwrap();
    cache.reserve(400);
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &Team::new(1) };
    let (q, kv, mut out) = (Array3::ones((1, 4, 16)), Array3::ones((1, 2, 16)), Array2::zeros((1, 64)));
    let mut ws = Workspace::default();
    let mut token = |cache: &mut Cache| {
        for i in 0..2 {
            cache.layer(i).extend(&ctx, [q.view(), kv.view(), kv.view()], &mut ws, out.view_mut()).unwrap();
        }
    };
    (0..300).for_each(|_| token(&mut cache));
    let ((), heap) = measure(|| (0..100).for_each(|_| token(&mut cache)));
    assert_eq!((heap.allocations, cache.len()), (0, 400));
}

#[test]
fn compressed_bytes_are_those_of_the_allocator() {
    let geometry = Geometry::new(4, 2, 64).unwrap();
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &Team::new(1) };
    let (q, kv) = (Array3::ones((100, 4, 64)), Array3::ones((100, 2, 64)));
    let (mut ws, mut out) = (Workspace::default(), Array2::zeros((100, 256)));
    // The library of products keeps a buffer for each thread.
    let mut warm = CompressedLayer::new(geometry, "gear2".parse().unwrap()).unwrap();
    (0..5).for_each(|_| warm.append(kv.view(), kv.view()).unwrap());
    for spec in [
        "q8_0",
        "q4_0",
        "kivi2-g32",
        "kcvt4",
        "gear2",
        "gear4-l",
        "turbo3",
        "rot-q4_0",
        "snapkv:64",
        "ems-aligned-mass:80+q8_0",
        "h2o:90+gear2",
    ] {
        for window in [None, Some(150)] {
            let spec: Spec = spec.parse().unwrap();
            let mut geometry = geometry;
            geometry.window = window.filter(|_| spec.policy.is_none());
            let (layer, heap) = measure(|| {
                let mut layer = CompressedLayer::new(geometry, spec).unwrap();
                for _ in 0..5 {
                    layer.extend(&ctx, [q.view(), kv.view(), kv.view()], &mut ws, out.view_mut()).unwrap();
                }
                layer.compress(&ctx, &mut ws).unwrap();
                // Buffers of the caller are not the layer's.
                (ws, out) = (Workspace::default(), Array2::zeros((100, 256)));
                layer
            });
            assert_eq!(layer.bytes().total(), heap.kept as u64, "{spec} {window:?}: {:?}", layer.bytes());
        }
    }
}
