//! Parameters of a module in a training: which take gradients, their gradients, and their values after a step.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

use super::ParameterPath;

/// The module with gradients for no other parameters than those whose name is `wanted`: the rest are constants when it is trained, and
/// a backward pass spends nothing on them.
#[must_use]
pub fn tuned_only<M: Module>(module: M, wanted: impl Fn(&str) -> bool) -> M {
    module.map(&mut Freezer { path: ParameterPath::default(), wanted })
}

/// The gradients of a module's parameters, taken out of a backward pass, by name; flattened, without autodiff.
pub fn gradients<M: Module>(module: &M, gradients: &mut Gradients) -> BTreeMap<String, Tensor<1>> {
    let mut collector = Collector { path: ParameterPath::default(), gradients, found: BTreeMap::new() };
    module.visit(&mut collector);
    collector.found
}

/// The module with other values of those parameters for which `change` has some; it is given name and old values, flattened.
#[must_use]
pub fn changed<M: Module>(module: M, change: impl FnMut(&str, Tensor<1>) -> Option<Tensor<1>>) -> M {
    module.map(&mut Changer { path: ParameterPath::default(), change })
}

/// Names of the scales and shifts of all normalisation layers.
pub fn norm_affines<M: Module>(module: &M) -> Vec<String> {
    let mut finder = NormFinder::default();
    module.visit(&mut finder);
    finder.found
}

struct Freezer<F> {
    path: ParameterPath,
    wanted: F,
}

impl<F: Fn(&str) -> bool> ModuleMapper for Freezer<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if (self.wanted)(&self.path.name()) { param } else { param.set_require_grad(false) }
    }
}

struct Collector<'a> {
    path: ParameterPath,
    gradients: &'a mut Gradients,
    found: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad_remove(self.gradients) {
            let count = gradient.shape().num_elements();
            self.found.insert(self.path.name(), gradient.reshape([count]));
        }
    }
}

struct Changer<F> {
    path: ParameterPath,
    change: F,
}

impl<F: FnMut(&str, Tensor<1>) -> Option<Tensor<1>>> ModuleMapper for Changer<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = param.val();
        let dims = value.dims();
        let flat = value.reshape([dims.iter().product::<usize>()]);
        match (self.change)(&self.path.name(), flat) {
            Some(new) => param.map(|_| new.reshape(dims)),
            None => param,
        }
    }
}

#[derive(Default)]
struct NormFinder {
    path: ParameterPath,
    containers: Vec<String>,
    found: Vec<String>,
}

impl ModuleVisitor for NormFinder {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
        self.containers.push(container.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
        self.containers.pop();
    }
    fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
        let is_norm = |container: &String| container.ends_with("LayerNorm") || container.ends_with("BatchNorm2d");
        let name = self.path.name();
        // A running statistic is no parameter.
        let is_affine = matches!(name.rsplit('.').next(), Some("weight" | "bias"));
        if is_affine && self.containers.last().is_some_and(is_norm) {
            self.found.push(name);
        }
    }
}
