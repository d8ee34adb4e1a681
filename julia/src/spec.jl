# Reading spec.toml and the data beside it. Whatever is wrong there is said in one line that names the field.

"""Bad input; the message is one line for the person who wrote it."""
struct SpecError <: Exception
    message::String
end
Base.showerror(io::IO, error::SpecError) = print(io, error.message)

struct Spec
    problem::Problem
    method::String
    seed::Int
    dt::Float64             # of recursions 1: their time counts steps
    trajectories::Int       # N
    noise::Vector{Float64}  # (K,)
    snapshots::Vector{Int}  # (S,) step indices; the last one is the number of steps
    inputs::Dict{String,Any}  # everything the result depends on: the fields of spec.toml, and the data
end

Form(spec::Spec) = spec.method == "tabulated" ? Tabulated(spec.problem) : Direct()

const METHODS = Dict("single-neuron" => ["tabulated", "direct"], "quartic-well" => ["direct"],
                     "teacher-student" => ["direct"], "teacher-student-general" => ["direct"],
                     "two-neurons" => ["direct"], "students" => ["direct"])
const SDES = ["single-neuron", "quartic-well"]  # the others are recursions
const PARAMETERS = Dict("single-neuron" => ["activation", "zeta", "init_std"], "quartic-well" => ["mu", "init_std"],
                        "teacher-student" => ["points", "init"], "teacher-student-general" => String[],
                        "two-neurons" => ["momentum", "w_in", "w_out"],
                        "students" => ["widths", "activation", "biases", "batch", "momentum", "weight_decay",
                                       "gradient_noise"])
const FIELDS = ["format", "problem", "method", "seed", "trajectories", "noise", "snapshots", "parameters"]
const MAY_BE_EMPTY = ["rate"]  # where there are no steps
# The arrays beside spec.toml, each with its number of dimensions.
const DATA = Dict("single-neuron" => ["x" => 1, "y" => 1], "quartic-well" => Pair{String,Int}[],
                  "teacher-student" => ["s_star" => 1, "rate" => 1],
                  "teacher-student-general" => ["x" => 2, "y" => 2, "v" => 2, "u" => 2, "rate" => 1],
                  "two-neurons" => ["x" => 1, "y" => 1, "rate" => 1],
                  "students" => ["x" => 3, "y" => 2, "x_test" => 3, "y_test" => 2, "start" => 2, "rate" => 1])

"""
    read_spec(dir) -> Spec

Read `dir/spec.toml`, and the problem's data, such as `dir/x.npy` and `dir/y.npy`, float64.
`SpecError` for any field that is missing, unknown, of the wrong type or out of range.
"""
function read_spec(dir::AbstractString)
    isdir(dir) || throw(SpecError("no directory $dir"))
    fields = parse_toml(joinpath(dir, "spec.toml"))
    take(fields, "format", is(Int, ==(1)), "1, the format that this version reads")
    name = choice(fields, "problem", keys(METHODS))
    recursion = !(name in SDES)
    only_fields(fields, [FIELDS; recursion ? "lr" : "dt"], "")
    method = choice(fields, "method", METHODS[name])
    parameters = take(fields, "parameters", is(AbstractDict), "a table")
    only_fields(parameters, PARAMETERS[name], "parameters.")
    inputs = Dict{String,Any}(fields)
    data = Dict{String,Any}(key => read_data(dir, key, name, dimensions) for (key, dimensions) in DATA[name])
    for (key, values) in data  # long data go into provenance.toml as a fingerprint
        inputs[key] = values isa Vector && length(values) <= 1000 ? values : fingerprint(values)
    end
    noise = Float64.(take(fields, "noise", is_list(is(Real, >=(0))), "a list of one or more numbers ≥ 0"))
    snapshots = Int.(take(fields, "snapshots", value -> is_list(is(Int, >=(0)))(value) && issorted(value, lt = <=),
                          "a list of one or more integers ≥ 0, strictly increasing"))
    recursion && length(data["rate"]) < last(snapshots) &&
        throw(SpecError("rate.npy has $(length(data["rate"])) values, expected one for each of $(last(snapshots)) steps"))
    step = recursion ? take(fields, "lr", value -> is_list(is(Real, >(0)))(value) && length(value) == length(noise),
                            "a list of numbers > 0, as many as noise has") :
                       take(fields, "dt", is(Real, >(0)), "a number > 0")
    trajectories = take(fields, "trajectories", is(Int, >(0)), "an integer > 0")
    Spec(PROBLEMS[name](parameters, data, Float64.(step), noise, trajectories), method,
         take(fields, "seed", is(Int, >=(0)), "an integer ≥ 0"), recursion ? 1.0 : Float64(step), trajectories,
         noise, snapshots, inputs)
end

# What makes a problem of the parameters of spec.toml, the data, the lr of all levels, the noise, the trajectories.
const PROBLEMS = Dict{String,Function}(
    "single-neuron" => function (parameters, data, dt, noise, trajectories)
        same_examples(data, "x", "y")
        SingleNeuron(data["x"], data["y"], activation_of(parameters), number(parameters, "zeta", 0),
                     number(parameters, "init_std", 0))
    end,
    "quartic-well" => (parameters, data, dt, noise, trajectories) ->
        QuarticWell(number(parameters, "mu"), number(parameters, "init_std", 0)),
    "teacher-student" => (parameters, data, lr, noise, trajectories) ->
        TeacherStudent(data["s_star"], data["rate"], lr, whole(parameters, "points"), pair(parameters, "init")),
    "teacher-student-general" => function (parameters, data, lr, noise, trajectories)
        x, y, v, u = (data[name] for name in ("x", "y", "v", "u"))
        same_examples(data, "x", "y")
        (n, N), m = size(x), size(y, 1)
        expect_shape("v", v, (n, n))
        expect_shape("u", u, (n, m))
        all(size -> isinteger(size) && 1 <= size <= N, noise) ||
            throw(SpecError("spec.toml: noise = $(brief(noise)), expected sizes of mini-batches, integers from 1 to $N"))
        GeneralTeacherStudent(x, y, v, u, data["rate"], lr)
    end,
    "two-neurons" => function (parameters, data, lr, noise, trajectories)
        same_examples(data, "x", "y")
        N = length(data["x"])
        x, y = reshape(data["x"], N, 1, 1), reshape(data["y"], N, 1)
        start = reshape([pair(parameters, "w_in")..., pair(parameters, "w_out")...], 4, 1)
        layers, weights = layers_of([1, 2, 1], false)
        Students(layers, weights, ACTIVATIONS["gelu"], x, y, x, y, start, data["rate"], lr, N,
                 number(parameters, "momentum", 0), 0.0, "label", true, trajectories)
    end,
    "students" => function (parameters, data, lr, noise, trajectories)
        widths = Int.(take(parameters, "widths", is_list(is(Int, >(0))), "a list of integers > 0", "parameters."))
        biases = take(parameters, "biases", value -> value isa Bool, "true or false", "parameters.")
        kind = choice(parameters, "gradient_noise", ["label", "isotropic", "frozen"], "parameters.")
        x, y, x_test, y_test = (data[name] for name in ("x", "y", "x_test", "y_test"))
        d, N, T = size(x)
        M = size(x_test, 2)
        layers, weights = layers_of([d; widths; 1], biases)
        for (name, values, shape) in (("y", y, (T, N)), ("x_test", x_test, (T, M, d)), ("y_test", y_test, (T, M)),
                                      ("start", data["start"], (trajectories, weights)))
            expect_shape(name, values, shape)
        end
        trajectories % T == 0 ||
            throw(SpecError("spec.toml: trajectories = $trajectories, expected a multiple of the $T teachers"))
        batch = whole(parameters, "batch")
        batch <= N || throw(SpecError("spec.toml: parameters.batch = $batch, expected at most the $N examples"))
        Students(layers, weights, activation_of(parameters), permutedims(x, (2, 1, 3)), y,
                 permutedims(x_test, (2, 1, 3)), y_test, data["start"], data["rate"], lr, batch,
                 number(parameters, "momentum", 0), number(parameters, "weight_decay", 0), kind, false, trajectories)
    end,
)

activation_of(parameters) = ACTIVATIONS[choice(parameters, "activation", keys(ACTIVATIONS), "parameters.")]
pair(parameters, name) =
    Tuple(Float64.(take(parameters, name, value -> is_list(is(Real))(value) && length(value) == 2, "two numbers",
                        "parameters.")))
whole(parameters, name) = take(parameters, name, is(Int, >(0)), "an integer > 0", "parameters.")

"""Of matrices, whose examples are columns here, their last sizes must agree."""
function same_examples(data, one, other)
    examples(name) = size(data[name], ndims(data[name]))
    examples(one) == examples(other) ||
        throw(SpecError("$one.npy has $(examples(one)) values and $other.npy $(examples(other)), expected as many"))
end

expect_shape(name, values, shape) =
    reverse(size(values)) == shape ||
    throw(SpecError("$name.npy has shape $(reverse(size(values))), expected $shape"))

number(parameters, name, least = -Inf) =
    Float64(take(parameters, name, is(Real, >=(least)), least == 0 ? "a number ≥ 0" : "a number", "parameters."))

"""16 digits that other values hardly share."""
fingerprint(values) =
    string(foldl((key, value) -> scramble(key + GOLDEN * (reinterpret(UInt64, value) | 1)), values, init = UInt64(0)),
           base = 16, pad = 16)

function parse_toml(path)
    isfile(path) || throw(SpecError("$path is missing"))
    text = read(path, String)
    # The parser of Julia 1.5 does not know that TOML 1.0 allows Python's 1e-05.
    VERSION < v"1.6" && (text = replace(text, r"(?<=\d)e([+-]?)0+(?=\d)" => s"e\1"))
    try
        TOML.parse(text)
    catch error
        throw(SpecError("$(basename(path)) is not TOML: $(one_line(error))"))
    end
end

# Predicates on TOML values. A number is finite and not a Boolean, which Julia counts among the integers.
is(type, condition = value -> true) = value -> value isa type && !(value isa Bool) && condition(value) && finite(value)
is_list(each) = value -> value isa AbstractVector && !isempty(value) && all(each, value)
finite(value) = !(value isa Real) || isfinite(value)

"""The value of a field, which must satisfy the predicate `valid`; `expected` says in words what that is."""
function take(table, name, valid, expected, prefix = "")
    haskey(table, name) || throw(SpecError("spec.toml: $prefix$name is missing, expected $expected"))
    valid(table[name]) || throw(SpecError("spec.toml: $prefix$name = $(brief(table[name])), expected $expected"))
    table[name]
end

function choice(table, name, options, prefix = "")
    value = take(table, name, is(AbstractString), "one of $(listed(options))", prefix)
    value in options && return value
    throw(SpecError("spec.toml: $prefix$name = $(brief(value)), expected one of $(listed(options))" *
                    meant(value, options)))
end

function only_fields(table, known, prefix)
    for name in sort!(collect(keys(table)))
        name in known ||
            throw(SpecError("spec.toml: unknown field $prefix$name, expected only $(listed(known))" *
                            meant(name, known)))
    end
end

function read_data(dir, key, problem, dimensions)
    name, least = "$key.npy", Int(!(key in MAY_BE_EMPTY))
    path = joinpath(dir, name)
    isfile(path) || throw(SpecError("$name is missing, expected the data of problem \"$problem\""))
    data = try
        read_npy(path)
    catch error
        error isa ArgumentError ? throw(SpecError(error.msg)) : rethrow()
    end
    expected = dimensions == 1 ? "(m,) with m ≥ $least" : "$dimensions dimensions, none of them empty"
    ndims(data) == dimensions && length(data) >= least ||
        throw(SpecError("$name has shape $(reverse(size(data))), expected $expected"))
    bad = findfirst(!isfinite, vec(data))
    bad === nothing || throw(SpecError("$name holds $(data[bad]) at index $(bad - 1), expected finite numbers"))
    data
end

listed(options) = join(sort!(collect(options)), ", ")

"""The value as TOML would show it, cut where it is long."""
function brief(value)
    text = replace(repr(value), r"^[A-Za-z0-9{}, ]*(?=[\[(])" => "")
    length(text) <= 60 ? text : first(text, 57) * "..."
end

"""An exception's message in one line of at most 300 characters."""
one_line(error) = first(join(split(sprint(showerror, error)), " "), 300)
one_line(error::CapturedException) = one_line(error.ex)  # without the stack, which it has from another thread

"""A hint at the option that was probably meant, where one is near."""
function meant(word, options)
    distance, nearest = findmin(Dict(option => edit_distance(word, option) for option in options))
    2distance <= length(word) ? "; did you mean $nearest?" : ""
end

"""Levenshtein's distance: insertions, deletions and replacements of a character that lead from `a` to `b`."""
function edit_distance(a, b)
    row = collect(0:length(b))
    for (i, from) in enumerate(a)
        diagonal, row[1] = row[1], i
        for (j, to) in enumerate(b)
            diagonal, row[j+1] = row[j+1], min(row[j] + 1, row[j+1] + 1, diagonal + (from != to))
        end
    end
    row[end]
end
