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
                     "teacher-student" => ["direct"])
const PARAMETERS = Dict("single-neuron" => ["activation", "zeta", "init_std"], "quartic-well" => ["mu", "init_std"],
                        "teacher-student" => ["points", "init"])
const FIELDS = ["format", "problem", "method", "seed", "trajectories", "noise", "snapshots", "parameters"]
const MAY_BE_EMPTY = ["rate"]  # where there are no steps
const DATA = Dict("single-neuron" => ["x", "y"], "quartic-well" => String[], "teacher-student" => ["s_star", "rate"])

"""
    read_spec(dir) -> Spec

Read `dir/spec.toml`, and the problem's data, such as `dir/x.npy` and `dir/y.npy`, each float64 of one dimension.
`SpecError` for any field that is missing, unknown, of the wrong type or out of range.
"""
function read_spec(dir::AbstractString)
    isdir(dir) || throw(SpecError("no directory $dir"))
    fields = parse_toml(joinpath(dir, "spec.toml"))
    take(fields, "format", is(Int, ==(1)), "1, the format that this version reads")
    name = choice(fields, "problem", keys(METHODS))
    recursion = name == "teacher-student"
    only_fields(fields, [FIELDS; recursion ? "lr" : "dt"], "")
    method = choice(fields, "method", METHODS[name])
    parameters = take(fields, "parameters", is(AbstractDict), "a table")
    only_fields(parameters, PARAMETERS[name], "parameters.")
    inputs = Dict{String,Any}(fields)
    data = Dict(key => read_data(dir, "$key.npy", name, Int(!(key in MAY_BE_EMPTY))) for key in DATA[name])
    # Long data go into provenance.toml as a fingerprint.
    foreach(key -> inputs[key] = length(data[key]) <= 1000 ? data[key] : fingerprint(data[key]), keys(data))
    noise = Float64.(take(fields, "noise", is_list(is(Real, >=(0))), "a list of one or more numbers ≥ 0"))
    snapshots = Int.(take(fields, "snapshots", value -> is_list(is(Int, >=(0)))(value) && issorted(value, lt = <=),
                          "a list of one or more integers ≥ 0, strictly increasing"))
    Spec(PROBLEMS[name](fields, parameters, data, length(noise), last(snapshots)), method,
         take(fields, "seed", is(Int, >=(0)), "an integer ≥ 0"),
         recursion ? 1.0 : Float64(take(fields, "dt", is(Real, >(0)), "a number > 0")),
         take(fields, "trajectories", is(Int, >(0)), "an integer > 0"),
         noise, snapshots, inputs)
end

# What makes a problem of the fields and parameters of spec.toml, the data, and the numbers of levels and steps.
const PROBLEMS = Dict{String,Function}(
    "single-neuron" => function (fields, parameters, data, levels, steps)
        activation = ACTIVATIONS[choice(parameters, "activation", keys(ACTIVATIONS), "parameters.")]
        x, y = data["x"], data["y"]
        length(x) == length(y) ||
            throw(SpecError("x.npy has $(length(x)) values and y.npy $(length(y)), expected as many"))
        SingleNeuron(x, y, activation, number(parameters, "zeta", 0), number(parameters, "init_std", 0))
    end,
    "quartic-well" => (fields, parameters, data, levels, steps) ->
        QuarticWell(number(parameters, "mu"), number(parameters, "init_std", 0)),
    "teacher-student" => function (fields, parameters, data, levels, steps)
        lr = take(fields, "lr", value -> is_list(is(Real, >(0)))(value) && length(value) == levels,
                  "a list of numbers > 0, as many as noise has")
        length(data["rate"]) >= steps ||
            throw(SpecError("rate.npy has $(length(data["rate"])) values, expected one for each of $steps steps"))
        points = take(parameters, "points", is(Int, >(0)), "an integer > 0", "parameters.")
        init = take(parameters, "init", value -> is_list(is(Real))(value) && length(value) == 2, "two numbers",
                    "parameters.")
        TeacherStudent(data["s_star"], data["rate"], Float64.(lr), points, Tuple(Float64.(init)))
    end,
)

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

function read_data(dir, name, problem, least)
    path = joinpath(dir, name)
    isfile(path) || throw(SpecError("$name is missing, expected the data of problem \"$problem\""))
    data = try
        read_npy(path)
    catch error
        error isa ArgumentError ? throw(SpecError(error.msg)) : rethrow()
    end
    ndims(data) == 1 && length(data) >= least ||
        throw(SpecError("$name has shape $(reverse(size(data))), expected (m,) with m ≥ $least"))
    bad = findfirst(!isfinite, data)
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
