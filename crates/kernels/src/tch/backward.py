# TorchScript as LibTorch stores it, read by script.rs. Every method gives the gradients of an op's first three inputs.

class Backward(Module):
  def convolution(
      self, gradient: Tensor, x: Tensor, weight: Tensor, bias: Optional[List[int]], stride: List[int], padding: List[int],
      wanted: List[bool]) -> Tuple[Tensor, Tensor, Tensor]:
    dilation, transposed, output_padding, groups = [1, 1], False, [0, 0], 1
    return torch.convolution_backward(
        gradient, x, weight, bias, stride, padding, dilation, transposed, output_padding, groups,
        [wanted[0], wanted[1], wanted[2]])

  def layer_norm(
      self, gradient: Tensor, x: Tensor, shape: List[int], mean: Tensor, inverse: Tensor, weight: Optional[Tensor],
      bias: Optional[Tensor], wanted: List[bool]) -> Tuple[Tensor, Tensor, Tensor]:
    return torch.native_layer_norm_backward(
        gradient, x, shape, mean, inverse, weight, bias, [wanted[0], wanted[1], wanted[2]])

  def batch_norm(
      self, gradient: Tensor, x: Tensor, weight: Tensor, mean: Tensor, variance: Tensor, batch_mean: Tensor,
      batch_inverse: Tensor, of_batch: bool, eps: float, wanted: List[bool]) -> Tuple[Tensor, Tensor, Tensor]:
    return torch.native_batch_norm_backward(
        gradient, x, weight, mean, variance, batch_mean, batch_inverse, of_batch, eps,
        [wanted[0], wanted[1], wanted[2]])
