# The tabulated step of a single neuron: no activation function, no sum over data, no root, no division.
#
# φ being odd (even), divide t by q_t = w1 (w1²) and s by q_s = 1 (w1), and all of `Terms` become even smooth
# functions of w1 alone. These seven are tabulated once in |w1|, as polynomials on cells of equal width; those of a cell
# are evaluated side by side in the lanes of one vector. In Figure 2 the step differs from the direct one by at most
# 1e-14 of ‖w‖; the tests allow 1e-9, for any problem.

"""Eight numbers in one vector register (two or four registers where they are shorter)."""
const Eight = NTuple{8,VecElement{Float64}}

@inline eight(numbers::NTuple{8,Float64}) = map(VecElement{Float64}, numbers)
@inline numbers(lanes::Eight) = map(lane -> lane.value, lanes)

"""a * b + c, lane by lane; Julia has no arithmetic of its own on `VecElement`s."""
@inline muladd8(a::Eight, b::Eight, c::Eight) = Base.llvmcall("""
    %product = fmul contract <8 x double> %0, %1
    %sum = fadd contract <8 x double> %product, %2
    ret <8 x double> %sum""", Eight, Tuple{Eight,Eight,Eight}, a, b, c)

const DEGREE = 5  # odd: an even number of nodes keeps them off w1 = 0, where `even_terms` would divide by 0
const RANGE = 8.0  # of |w1| × root mean square of x; Figure 2 stays below 4, and beyond the step is direct
const TOLERANCE = 1e-12  # of a polynomial, relative to the scale of its function
const MOST_CELLS = 4096

"""
    Tabulated(neuron)

Steps by a table of what `Direct` would compute: cell i has all |w1| within half a `width` of i × `width`, and its
polynomials in u = |w1| / width − i have their coefficients, highest power first, in column i + 1.

The cells are as many as TOLERANCE asks for. An activation too rough for MOST_CELLS of them, or data that make it so,
gets a table up to where it is good, if only to 0; beyond it, steps are direct. So the table may be of little use, but
is never wrong.
"""
struct Tabulated <: Form
    coefficients::Matrix{Eight}  # (DEGREE + 1, cells)
    width::Float64
end

function Tabulated(neuron::SingleNeuron)
    rms = norm(neuron.x) / sqrt(length(neuron.x))
    range, cells = RANGE / (rms > 0 ? rms : 1.0), 64
    while true
        table = Tabulated(Matrix{Eight}(undef, DEGREE + 1, cells), range / cells)
        good = tabulate!(table, neuron)
        good == cells && return table
        cells == MOST_CELLS && return Tabulated(table.coefficients[:, 1:good], table.width)
        cells *= 2
    end
end

Tabulated(::SingleNeuron{<:Activation{:none}}) =
    throw(SpecError("spec.toml: method = tabulated needs an activation that is odd or even, expected method = direct"))

"""Fill the table by interpolation at Chebyshev's nodes; the number of cells before the first inaccurate one."""
function tabulate!(table, neuron)
    direct = stepper(neuron, Direct(), 0.0, 0.0)
    nodes = [cospi((2j - 1) / (2DEGREE + 2)) / 2 for j in 1:DEGREE+1]
    between = [0.5; (nodes[1:end-1] .+ nodes[2:end]) ./ 2 .+ 0.01]  # + 0.01: off 0 as well
    interpolate = inv([node^power for node in nodes, power in DEGREE:-1:0])
    samples, cells = zeros(DEGREE + 1, 8), size(table.coefficients, 2)
    errors, greatest_s, greatest_t = zeros(8, cells), 0.0, 0.0
    for cell in 0:cells-1
        for (j, node) in enumerate(nodes)
            samples[j, :] .= even_terms(direct, (cell + node) * table.width)
        end
        polynomials = interpolate * samples
        for j in 1:DEGREE+1
            table.coefficients[j, cell+1] = eight(ntuple(f -> polynomials[j, f], Val(8)))
        end
        for u in between
            exact, found = even_terms(direct, (cell + u) * table.width), evaluate(table.coefficients, cell, u)
            for f in 1:8
                errors[f, cell+1] = max(errors[f, cell+1], abs(found[f] - exact[f]))
            end
            greatest_s, greatest_t = max(greatest_s, abs(exact[5])), max(greatest_t, sqrt(exact[4]))
        end
    end
    # What each function may be at most, by Cauchy–Schwarz from the norms of y, s and t.
    y, s, t = norm(neuron.y), greatest_s, greatest_t
    allowed = TOLERANCE .* (y * s, y * t, s * t, t * t, s, t, t, 0.0)
    bad = findfirst(cell -> !all(f -> errors[f, cell] <= allowed[f], 1:8), 1:cells)  # NaN is bad
    bad === nothing ? cells : bad - 1
end

"""The eight functions in a cell, by Horner's rule."""
@inline function evaluate(coefficients, cell, u)
    lanes = eight(ntuple(_ -> u, Val(8)))
    value = @inbounds coefficients[1, cell+1]
    for j in 2:DEGREE+1
        value = muladd8(value, lanes, @inbounds coefficients[j, cell+1])
    end
    numbers(value)
end

"""(q_s, q_t) of the header of this file."""
@inline factors(::Activation{:odd}, w1) = 1.0, w1
@inline factors(::Activation{:even}, w1) = w1, w1^2

"""The seven functions at w1 ≠ 0, as the table has them, and an idle eighth."""
function even_terms(direct::DirectNeuron, w1)
    of = terms!(direct, w1)
    qs, qt = factors(direct.neuron.activation, w1)
    of.ys / qs, of.yt / qt, of.ts / (qs * qt), of.tt / qt^2, of.L11 / qs, of.L21 / qt, of.L22 / qt, 0.0
end

struct TabulatedNeuron{A}
    coefficients::Matrix{Eight}  # times dt/m (drift) or ζ √(η dt/m) (noise)
    per_width::Float64
    limit::Float64  # of |w1| / width
    direct::DirectNeuron{A}
end
function stepper(neuron::SingleNeuron, table::Tabulated, noise, dt)
    direct = stepper(neuron, Direct(), noise, dt)
    scale = eight(ntuple(f -> f <= 4 ? direct.drift : direct.noise, Val(8)))
    zero = eight(ntuple(_ -> 0.0, Val(8)))
    coefficients = [muladd8(coefficient, scale, zero) for coefficient in table.coefficients]
    limit = (size(coefficients, 2) - 0.5) * (1 - eps())  # below it, rounding cannot lead to a cell that is not there
    TabulatedNeuron(coefficients, 1 / table.width, limit, direct)
end

function step!(stepper::TabulatedNeuron, states, normals, k)
    activation = stepper.direct.neuron.activation
    @inbounds for n in axes(states, 2)
        w1, w2, ξ1, ξ2 = states[1, n], states[2, n], normals[1, n, k], normals[2, n, k]
        place = abs(w1) * stepper.per_width
        if place < stepper.limit
            cell = unsafe_trunc(Int, place + 0.5)
            ys, yt, ts, tt, L11, L21, L22, _ = evaluate(stepper.coefficients, cell, place - cell)
            qs, qt = factors(activation, w1)
            v = w2 * qt
            states[1, n] = w1 + qs * w2 * muladd(L11, ξ1, muladd(-v, ts, ys))
            states[2, n] = w2 + qt * muladd(L22, ξ2, muladd(L21, ξ1, muladd(-v, tt, yt)))
        else  # beyond the table, or not a number
            states[1, n], states[2, n] = stepped(stepper.direct, w1, w2, ξ1, ξ2)
        end
    end
end
