"""What is cut out of a weight: its largest entries and its best low-rank part."""

from __future__ import annotations

import pytest
import torch

from bimacosr.binarize.branches import SparseBranch, factorize, largest_entries
from bimacosr.errors import OptionError


def random_matrix(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


class TestLargestEntries:
    def test_by_magnitude_in_reading_order(self) -> None:
        matrix = torch.tensor([[1.0, -9.0, 2.0], [0.0, 5.0, -6.0]])
        rows, columns = largest_entries(matrix, 3)
        assert rows.tolist() == [0, 1, 1]
        assert columns.tolist() == [1, 1, 2]
        assert rows.dtype == torch.int64

    def test_all_of_them(self) -> None:
        rows, columns = largest_entries(random_matrix(2, 3), 6)
        assert (rows * 3 + columns).tolist() == list(range(6))

    def test_a_wide_matrix(self) -> None:
        matrix = random_matrix(7, 300)
        rows, columns = largest_entries(matrix, 40)
        chosen = torch.zeros(7, 300, dtype=torch.bool)
        chosen[rows, columns] = True
        assert chosen.sum() == 40
        assert matrix[chosen].abs().min() > matrix[~chosen].abs().max()

    def test_more_than_there_are(self) -> None:
        message = r"needs 7 entries, but the layer has only 6 \(2 x 3\); keep .* in float"
        with pytest.raises(OptionError, match=message):
            largest_entries(random_matrix(2, 3), 7)


class TestFactorize:
    @pytest.mark.parametrize("shape", [(9, 5), (5, 9), (6, 6)])
    def test_no_other_matrix_of_that_rank_is_nearer(self, shape: tuple[int, int]) -> None:
        matrix = random_matrix(*shape)
        left, right = factorize(matrix, 3)
        assert left.shape == (shape[0], 3)
        assert right.shape == (3, shape[1])
        # Eckart and Young: the error is what is left of the singular values
        rest = torch.linalg.svdvals(matrix)[3:]
        error = torch.linalg.matrix_norm(matrix - left @ right)
        torch.testing.assert_close(error, rest.square().sum().sqrt())

    def test_the_singular_values_are_split_evenly(self) -> None:
        matrix = random_matrix(8, 6)
        left, right = factorize(matrix, 4)
        values = torch.diag(torch.linalg.svdvals(matrix)[:4])
        torch.testing.assert_close(left.T @ left, values)
        torch.testing.assert_close(right @ right.T, values)

    def test_rank_is_cut_to_the_matrix(self) -> None:
        matrix = random_matrix(4, 7)
        left, right = factorize(matrix, 100)
        assert left.shape == (4, 4)
        torch.testing.assert_close(left @ right, matrix)


class TestSparseBranch:
    indices = torch.tensor([[0, 2, 1], [1, 0, 3]])
    values = torch.tensor([5.0, -1.0, 2.0])

    def branch(self) -> SparseBranch:
        return SparseBranch(self.indices, self.values, (3, 4))

    def test_matrix(self) -> None:
        assert self.branch().matrix().tolist() == [[0, 5, 0, 0], [0, 0, 0, 2], [-1, 0, 0, 0]]

    @pytest.mark.parametrize("shape", [(2, 4, 5, 3), (2, 7, 4), (6, 4)])
    def test_maps_and_tokens(self, shape: tuple[int, ...]) -> None:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        subscripts = "oc,bchw->bohw" if len(shape) == 4 else "oc,...c->...o"
        wanted = torch.einsum(subscripts, self.branch().matrix(), x)
        torch.testing.assert_close(self.branch()(x), wanted)

    def test_each_value_gets_the_gradient_of_its_own_place(self) -> None:
        branch = self.branch()
        x, cotangent = torch.tensor([[1.0, 10, 100, 1000]]), torch.tensor([[1.0, 2, 3]])
        branch(x).backward(cotangent)
        assert branch.values.grad is not None
        assert branch.values.grad.tolist() == [1 * 10, 3 * 1, 2 * 1000]

    def test_positions_are_no_parameters_but_are_saved_as_floats(self) -> None:
        branch = self.branch()
        assert [name for name, _ in branch.named_parameters()] == ["values"]
        assert list(branch.state_dict()) == ["values", "indices_float"]
        assert branch.indices_float.dtype == torch.float32
        assert torch.equal(branch.indices_float, self.indices.float())

    def test_an_average_of_equal_positions_is_still_that_position(self) -> None:
        branch = self.branch()
        branch.indices_float += torch.tensor([[-3e-4, 2e-4, 0], [1e-4, 4e-4, -4e-4]])
        assert torch.equal(branch.matrix(), self.branch().matrix())

    def test_the_given_values_are_copied(self) -> None:
        values = self.values.clone()
        branch = SparseBranch(self.indices, values, (3, 4))
        values.zero_()
        assert branch.values.tolist() == [5, -1, 2]
