// One step of the decoder-only transformer on a CPU: every candidate one image token further.
//
// A step is bound by reading weights. So they are stored in half precision, in panels that are read once, front to
// back, while all candidates pass; the arithmetic and everything that flows between layers is float32. The prompt's
// keys and values are stored once for all candidates of it. Nothing is allocated here: Python owns all memory.
//
// A row's result does not depend on the other rows, on their number, or on the threads: each sum over inputs,
// channels or positions is taken by one thread in one order, whatever tile the row falls into. Keep it so.
//
// Letters: D channels of the stream, H heads, K channels of a head (stored as `pitch`, a multiple of LANES).

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <utility>
#if defined(__aarch64__)
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

namespace {

// LANES: floats in a register. VECTORS * LANES outputs and up to ROWS candidates make a tile of sums in registers.
#if defined(__AVX512F__)
constexpr int LANES = 16, VECTORS = 2, ROWS = 12;
#elif defined(__F16C__)
constexpr int LANES = 8, VECTORS = 4, ROWS = 2;
#elif defined(__aarch64__)
constexpr int LANES = 4, VECTORS = 4, ROWS = 6;
#else
#error "half precision in software would take longer than all of PyTorch"
#endif
constexpr int PANEL = VECTORS * LANES;
constexpr int AHEAD = 8192;  // bytes of weights that are fetched before they are needed

struct Half {  // float16
    uint16_t bits;
};
struct Brain {  // bfloat16: the upper half of a float32
    uint16_t bits;
};

typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint16_t Shorts __attribute__((vector_size(2 * LANES)));

template <class To, class From>
To bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

template <class V, class T>
V read(const T* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

Vec load(const float* from) { return read<Vec>(from); }

Vec load(const Half* from) {
#if defined(__AVX512F__)
    return (Vec)_mm512_cvtph_ps(read<__m256i>(from));
#elif defined(__F16C__)
    return (Vec)_mm256_cvtph_ps(read<__m128i>(from));
#else
    return (Vec)vcvt_f32_f16(read<float16x4_t>(from));
#endif
}

Vec load(const Brain* from) { return bits<Vec>(__builtin_convertvector(read<Shorts>(from), Ints) << 16); }

void store(float* to, Vec x) { std::memcpy(to, &x, sizeof x); }

void store(Half* to, Vec x) {
    x = x > 65504.f ? Vec{} + 65504.f : x;
    x = x < -65504.f ? Vec{} - 65504.f : x;
#if defined(__AVX512F__)
    const auto halves = _mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__F16C__)
    const auto halves = _mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    const auto halves = vcvt_f16_f32((float32x4_t)x);
#endif
    std::memcpy(to, &halves, sizeof halves);
}

void store(Brain* to, Vec x) {  // to the nearest, ties to even
    const Ints words = bits<Ints>(x);
    const Shorts shorts = __builtin_convertvector((words + 0x7fff + (words >> 16 & 1)) >> 16, Shorts);
    std::memcpy(to, &shorts, sizeof shorts);
}

// Lanes of a, then of b, by number.
template <int... LANE>
Vec pick(Vec a, Vec b) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, LANE...);
#else
    return __builtin_shuffle(a, b, Ints{LANE...});
#endif
}

// The sums over the lanes of LANES vectors, each in its lane: folds v[i] and v[i + HALF] into one, then half of that.
template <int HALF, int... LANE>
void fold(Vec* v, std::integer_sequence<int, LANE...> lanes) {
    for (int i = 0; i < HALF; ++i)
        v[i] = pick<(LANE & HALF ? LANES + LANE - HALF : LANE)...>(v[i], v[i + HALF]) +
               pick<(LANE & HALF ? LANES + LANE : LANE + HALF)...>(v[i], v[i + HALF]);
    if constexpr (HALF > 1) fold<HALF / 2>(v, lanes);
}

Vec sums(Vec* v) {
    fold<LANES / 2>(v, std::make_integer_sequence<int, LANES>{});
    return v[0];
}

template <class Fold>
float reduce(Vec v, Fold fold) {
    float x = v[0];
    for (int lane = 1; lane < LANES; ++lane) x = fold(x, v[lane]);
    return x;
}

// e^x within 2 units of the last place for x <= 88; what lies below -87 counts as -87.
Vec exp(Vec x) {
    const Vec shifter = Vec{} + 12582912.f;  // 1.5 * 2^23: adding it rounds to a whole number
    x = x < -87.f ? Vec{} - 87.f : x;
    x = x > 88.f ? Vec{} + 88.f : x;
    const Vec shifted = x * 1.44269504f + shifter;
    const Vec whole = shifted - shifter;
    const Vec r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.f;
    return p * bits<Vec>((bits<Ints>(shifted) << 23) + (127 << 23));
}

Vec sigmoid(Vec x) { return 1.f / (1.f + exp(-x)); }

// erf within 1.5e-7 (Abramowitz & Stegun 1964, 7.1.26)
Vec erf(Vec x) {
    const Vec a = x < 0.f ? -x : x;
    const Vec t = 1.f / (1.f + a * 0.3275911f);
    const Vec p = ((((t * 1.061405429f - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
    const Vec y = 1.f - p * exp(-a * a);
    return x < 0.f ? -y : y;
}

enum Mlp : int { GELU, GELU_TANH, QUICK_GELU, GEGLU };

Vec activate(int mlp, Vec x) {
    if (mlp == GELU_TANH) return x * sigmoid(1.5957691216f * (x + 0.044715f * x * x * x));
    if (mlp == QUICK_GELU) return x * sigmoid(1.702f * x);
    return 0.5f * x * (1.f + erf(x * 0.70710678f));
}

}  // namespace

// What follows is mirrored, field by field, in layout.py.

struct Linear {
    const void* weight;  // (outputs / PANEL, inputs, PANEL), filled up with zeros
    const float* bias;   // (outputs), filled up to whole panels
    int inputs, outputs;
};

struct Norm {
    const float *scale, *shift;  // (D,); null: there is no norm
    float epsilon;
};

struct Layer {
    Norm attention_norm, attention_post_norm, mlp_norm, mlp_post_norm;
    Linear qkv, out, up, down;
    const int *seen, *starts;  // image token i sees positions seen[starts[i]] … seen[starts[i + 1] - 1]; null: all
};

struct Net {
    const Layer* layers;
    const float *embedding, *positions;  // (V, D), (text + image tokens, D)
    const float* rotation;               // (2, text + image tokens, turning) cosines and sines; null: none
    Norm norm, head_norm;
    Linear head;
    int storage, depth, width, heads, channels, pitch, hidden, mlp, turning, text, image, columns;
    int shift, reversible, divide_by_max;
};

struct State {
    const int* prompt;                       // (rows,) which of the prompts a row continues
    const void* prompts;                     // (prompts, depth, H, 2, first, pitch): keys, then values
    void* own;                               // (rows, depth, H, 2, capacity, pitch)
    const uint8_t* unseen;                   // (prompts, first): what nobody looks at; null: nothing
    float* rings;                            // (rows, 2 * depth, columns, 2 * ceil(D / 4)): channels for token shift
    float *a, *b;                            // (rows, D): the stream; two of them in a reversible net
    float *branch, *wide, *mixed;            // (rows, D), (rows, max(3 * H * K, hidden)), (rows, H * K)
    float* work;                             // (threads, 4 * pitch + positions)
    int rows, threads, first, capacity, position;  // first: positions in the prompt; position: image tokens read
};

namespace {

constexpr int up_to(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

// ---- threads -------------------------------------------------------------------------------------------------------

// A step is a row of phases, each a number of pieces of work that may run side by side. Every thread goes through all
// phases and takes pieces while there are some; it waits for pieces under way, never for threads: one that the system
// has put aside holds nobody up.
struct Team {
    const int threads;
    std::atomic<int> members{0}, taken{0}, done{0};  // the latter two: pieces, of all phases together
};

class Member {
    Team& team;
    int end = 0;  // pieces of the phases so far

   public:
    const int number;

    explicit Member(Team& team) : team(team), number(team.members.fetch_add(1)) {}

    // The next phase: work(0) … work(count - 1), shared out among the team.
    template <class Work>
    void share(int count, Work work) {
        const int begin = end;
        end += count;
        for (int at = team.taken.load(std::memory_order_relaxed); at < end;) {
            const int next = at + std::max(1, (end - at) / (2 * team.threads));
            if (!team.taken.compare_exchange_weak(at, next, std::memory_order_relaxed)) continue;
            for (int piece = at; piece < next; ++piece) work(piece - begin);
            team.done.fetch_add(next - at, std::memory_order_release);
            at = team.taken.load(std::memory_order_relaxed);
        }
        for (int spins = 0; team.done.load(std::memory_order_acquire) < end; ++spins)
            if (spins > 10000) std::this_thread::yield();
    }
};

// ---- products ------------------------------------------------------------------------------------------------------

// A tile: some rows of x (each `inputs` floats) times one panel; sum I is that of row I / VECTORS. Every sum runs over
// the inputs in order, starting at the bias: a row gets the same bits in a tile of any height.
template <class T, int... I>
void multiply(const T* weight, const float* bias, const float* x, int inputs, Vec (*sums)[VECTORS],
              std::integer_sequence<int, I...>) {
    Vec acc[] = {load(bias + I % VECTORS * LANES)...};  // unrolled by hand: they have to stay in registers
    const float* rows[] = {x + I / VECTORS * size_t(inputs)...};
    for (int k = 0; k < inputs; ++k, weight += PANEL) {
        for (int at = 0; at < int(PANEL * sizeof(T)); at += 64) __builtin_prefetch((const char*)weight + AHEAD + at);
        Vec w[VECTORS];
        for (int v = 0; v < VECTORS; ++v) w[v] = load(weight + v * LANES);
        ((acc[I] += rows[I][k] * w[I % VECTORS]), ...);
    }
    ((sums[I / VECTORS][I % VECTORS] = acc[I]), ...);
}

template <class T>
using Multiply = void (*)(const T*, const float*, const float*, int, Vec (*)[VECTORS]);

template <class T, int COUNT>
void multiply_rows(const T* weight, const float* bias, const float* x, int inputs, Vec (*sums)[VECTORS]) {
    multiply(weight, bias, x, inputs, sums, std::make_integer_sequence<int, COUNT * VECTORS>{});
}

template <class T, int... COUNTS>
constexpr std::array<Multiply<T>, ROWS> tiles(std::integer_sequence<int, COUNTS...>) {
    return {multiply_rows<T, COUNTS + 1>...};
}

// y = x W + b for all rows, the panels shared out among threads; `finish(row, panel, sums)` takes what comes out.
template <class T, class Finish>
void product(Member& member, const Linear& linear, const float* x, int rows, Finish finish) {
    static constexpr auto tile = tiles<T>(std::make_integer_sequence<int, ROWS>{});
    member.share(up_to(linear.outputs, PANEL) / PANEL, [&](int panel) {
        const T* weight = (const T*)linear.weight + size_t(panel) * linear.inputs * PANEL;
        for (int row = 0, left = (rows + ROWS - 1) / ROWS; left; --left) {
            const int count = (rows - row + left - 1) / left;  // tiles of about the same height
            Vec sums[ROWS][VECTORS];
            tile[count - 1](
                weight, linear.bias + panel * PANEL, x + size_t(row) * linear.inputs, linear.inputs, sums);
            for (int i = 0; i < count; ++i, ++row) finish(row, panel, sums[i]);
        }
    });
}

// Where a product goes: into (rows, outputs), over what is there or added to it.
struct Into {
    float* y;
    int outputs;
    bool add = false;

    void operator()(int row, int panel, const Vec* sums, int vectors = VECTORS) const {
        const int column = panel * vectors * LANES;
        float* to = y + size_t(row) * outputs + column;
        const float* from = (const float*)sums;
        const int count = std::min(vectors * LANES, outputs - column);
        for (int i = 0; i < count; ++i) to[i] = add ? to[i] + from[i] : from[i];
    }
};

// ---- rows ----------------------------------------------------------------------------------------------------------

void normalise(const Norm& norm, const float* x, float* y, int width) {
    float mean = 0, variance = 0;
#pragma omp simd reduction(+ : mean)
    for (int i = 0; i < width; ++i) mean += x[i];
    mean /= width;
#pragma omp simd reduction(+ : variance)
    for (int i = 0; i < width; ++i) variance += (x[i] - mean) * (x[i] - mean);
    const float scale = 1.f / std::sqrt(variance / width + norm.epsilon);
    for (int i = 0; i < width; ++i) y[i] = (x[i] - mean) * scale * norm.scale[i] + norm.shift[i];
}

// Token shift: a quarter of the channels from the pixel above, a quarter from the left, zeros outside the grid.
// The ring holds this row's own channels of the latest `columns` tokens.
void shift(float* x, float* ring, int index, int columns, int width) {
    const int quarter = up_to(width, 4) / 4, slot = index % columns;
    const float* left = ring + (slot + columns - 1) % columns * 2 * quarter + quarter;
    float* above = ring + slot * 2 * quarter;  // the slot of the token above is this token's own
    for (int i = 0; i < quarter; ++i) {
        const float up = index < columns ? 0.f : above[i];
        above[i] = x[i], x[i] = up;
        above[quarter + i] = std::exchange(x[quarter + i], slot ? left[i] : 0.f);
    }
}

// ---- attention -----------------------------------------------------------------------------------------------------

// The keys, or the values, of what a head of a row sees.
template <class T>
struct View {
    const T *shared, *own;  // (first, pitch) of the prompt, (capacity, pitch) of the row
    const int* seen;        // stream positions; null: all
    int first, pitch;

    const T* operator()(int i) const {
        const int position = seen ? seen[i] : i;
        return position < first ? shared + size_t(position) * pitch : own + size_t(position - first) * pitch;
    }
};

// The query with LANES keys from number i on; past the last one, with the last one again.
template <class T>
Vec scores_of(const float* query, const View<T>& keys, int i, int count) {
    Vec products[LANES] = {};
    for (int lane = 0; lane < LANES; ++lane) {
        const T* key = keys(std::min(i + lane, count - 1));
        for (int c = 0; c < keys.pitch; c += LANES) products[lane] += load(query + c) * load(key + c);
    }
    return sums(products);
}

// COUNT registers of channels of the weighted sum of values.
template <int COUNT, class T>
void blend(const View<T>& values, const float* weights, int count, int channel, float* y) {
    Vec acc[COUNT] = {};
    for (int i = 0; i < count; ++i) {
        const T* row = values(i) + channel;
        for (int v = 0; v < COUNT; ++v) acc[v] += weights[i] * load(row + v * LANES);
    }
    for (int v = 0; v < COUNT; ++v) store(y + channel + v * LANES, acc[v]);
}

// Scores to weights that have not been divided yet; returns their sum.
float exponentials(float* scores, int count) {
    std::fill(scores + count, scores + up_to(count, LANES), -INFINITY);
    Vec highest = load(scores), total{};
    for (int i = LANES; i < count; i += LANES) {
        const Vec x = load(scores + i);
        highest = x > highest ? x : highest;
    }
    const float top = reduce(highest, [](float a, float b) { return std::max(a, b); });
    for (int i = 0; i < count; i += LANES) {
        const Vec weights = exp(load(scores + i) - top);
        store(scores + i, weights);
        total += weights;
    }
    return reduce(total, [](float a, float b) { return a + b; });
}

// The first channels turn in pairs of neighbours; (positions, turning) cosines, then as many sines.
void rotate(float* x, const float* rotation, int turning, int position, int positions) {
    const float *cosines = rotation + size_t(position) * turning, *sines = cosines + size_t(positions) * turning;
    for (int i = 0; i < turning; i += 2) {
        const float even = x[i], odd = x[i + 1];
        x[i] = even * cosines[i] - odd * sines[i];
        x[i + 1] = odd * cosines[i + 1] + even * sines[i + 1];
    }
}

template <class T>
void attend(const Net& net, const Layer& layer, const State& state, int depth, int row, int head, float* work) {
    const int pitch = net.pitch, channels = net.channels, position = net.text + state.position;
    const size_t inner = size_t(net.heads) * channels;
    float *query = work, *key = query + pitch, *value = key + pitch, *scores = value + pitch;
    for (int part = 0; part < 3; ++part) {
        const float* from = state.wide + (3 * row + part) * inner + head * channels;
        float* to = query + part * pitch;
        std::fill(std::copy(from, from + channels, to), to + pitch, 0.f);
        if (net.rotation) rotate(to, net.rotation, net.turning, position, net.text + net.image);
    }

    const auto place = [&](size_t sequence) { return ((sequence * net.depth + depth) * net.heads + head) * 2 * pitch; };
    const size_t first = state.first, capacity = state.capacity;
    const T* shared = (const T*)state.prompts + place(state.prompt[row]) * first;
    T* own = (T*)state.own + place(row) * capacity;
    T* here = own + (position - first) * pitch;
    for (int c = 0; c < pitch; c += LANES) {
        store(here + c, load(key + c));
        store(here + capacity * pitch + c, load(value + c));
    }

    const int* seen = layer.seen ? layer.seen + layer.starts[state.position] : nullptr;
    const int count = seen ? layer.starts[state.position + 1] - layer.starts[state.position] : position + 1;
    const View<T> keys{shared, own, seen, state.first, pitch};
    const View<T> values{shared + first * pitch, own + capacity * pitch, seen, state.first, pitch};
    const float scale = 1.f / std::sqrt(float(channels));
    for (int c = 0; c < channels; ++c) query[c] *= scale;
    for (int i = 0; i < count; i += LANES) store(scores + i, scores_of(query, keys, i, count));
    if (const uint8_t* unseen = state.unseen ? state.unseen + state.prompt[row] * first : nullptr)
        for (int i = 0; i < count; ++i) {
            const int at = seen ? seen[i] : i;
            if (at < state.first && unseen[at]) scores[i] = -INFINITY;
        }
    const float total = exponentials(scores, count);

    float* mixed = query;  // not needed any more
    constexpr int WIDE = 64 / LANES;
    int c = 0;
    for (; c + WIDE * LANES <= pitch; c += WIDE * LANES) blend<WIDE>(values, scores, count, c, mixed);
    for (; c < pitch; c += LANES) blend<1>(values, scores, count, c, mixed);
    for (c = 0; c < channels; ++c) state.mixed[row * inner + head * channels + c] = mixed[c] / total;
}

// ---- the step ------------------------------------------------------------------------------------------------------

// What goes into a branch: that of attention (2 * depth) or of the MLP (2 * depth + 1).
void prepare(Member& member, const Net& net, const State& state, const Norm& norm, const float* x, int branch) {
    const int width = net.width;
    const size_t ring = size_t(net.columns) * 2 * (up_to(width, 4) / 4);
    member.share(state.rows, [&](int row) {
        float* y = state.branch + size_t(row) * width;
        normalise(norm, x + size_t(row) * width, y, width);
        if (net.shift)
            shift(y, state.rings + (size_t(row) * 2 * net.depth + branch) * ring, state.position, net.columns, width);
    });
}

// Back into the stream, through a norm where there is one.
template <class T>
void add(Member& member, const Net& net, const State& state, const Linear& linear, const Norm& norm,
         const float* from, float* x) {
    if (!norm.scale) return product<T>(member, linear, from, state.rows, Into{x, net.width, true});
    product<T>(member, linear, from, state.rows, Into{state.branch, net.width});
    member.share(state.rows, [&](int row) {
        float *y = state.branch + size_t(row) * net.width, *to = x + size_t(row) * net.width;
        normalise(norm, y, y, net.width);
        for (int i = 0; i < net.width; ++i) to[i] += y[i];
    });
}

template <class T>
void go_through(Member& member, const Net& net, const State& state, int depth, float* a, float* b) {
    const Layer& layer = net.layers[depth];
    const int rows = state.rows, hidden = net.hidden, inner = net.heads * net.channels;
    prepare(member, net, state, layer.attention_norm, b, 2 * depth);
    product<T>(member, layer.qkv, state.branch, rows, Into{state.wide, 3 * inner});
    member.share(rows * net.heads, [&](int item) {
        float* work = state.work + member.number * size_t(4 * net.pitch + net.text + net.image);
        attend<T>(net, layer, state, depth, item / net.heads, item % net.heads, work);
    });
    add<T>(member, net, state, layer.out, layer.attention_post_norm, state.mixed, a);

    prepare(member, net, state, layer.mlp_norm, a, 2 * depth + 1);
    const Into into{state.wide, hidden};
    product<T>(member, layer.up, state.branch, rows, [&](int row, int panel, Vec* sums) {
        if (net.mlp == GEGLU) {  // the first half of a panel are values, the second their gates
            for (int v = 0; v < VECTORS / 2; ++v) sums[v] *= activate(GELU, sums[v + VECTORS / 2]);
            return into(row, panel, sums, VECTORS / 2);
        }
        for (int v = 0; v < VECTORS; ++v) sums[v] = activate(net.mlp, sums[v]);
        into(row, panel, sums);
    });
    add<T>(member, net, state, layer.down, layer.mlp_post_norm, state.wide, b);
}

template <class T>
void step(const Net& net, const State& state, const int64_t* tokens, float* logits) {
    const int width = net.width, rows = state.rows;
    float *a = state.a, *b = net.reversible ? state.b : a;
    Team team{state.threads};
#pragma omp parallel num_threads(state.threads)
    {
        Member member(team);
        member.share(rows, [&](int row) {
            const float* token = net.embedding + tokens[row] * width;
            const float* position = net.positions + size_t(net.text + state.position) * width;
            for (size_t i = 0, to = size_t(row) * width; i < size_t(width); ++i, ++to)
                a[to] = b[to] = token[i] + position[i];
        });
        for (int depth = 0; depth < net.depth; ++depth) go_through<T>(member, net, state, depth, a, b);
        member.share(rows, [&](int row) {
            float *x = a + size_t(row) * width, *y = state.branch + size_t(row) * width;
            const float* other = b + size_t(row) * width;
            for (int i = 0; i < width; ++i) x[i] = (x[i] + other[i]) / 2;
            const float highest = net.divide_by_max ? *std::max_element(x, x + width) : 1.f;
            for (int i = 0; i < width; ++i) x[i] /= highest;
            normalise(net.norm, x, y, width);
            if (net.head_norm.scale) normalise(net.head_norm, y, y, width);
        });
        product<T>(member, net.head, state.branch, rows, Into{logits, net.head.outputs});
    }
}

}  // namespace

extern "C" {

int dalle_lanes() { return LANES; }
int dalle_panel() { return PANEL; }

// (rows,) image tokens -> (rows, V) logits of the next ones. Returns 1, and does nothing, where a token is none.
int dalle_step(const Net* net, const State* state, const int64_t* tokens, float* logits) {
    for (int row = 0; row < state->rows; ++row)
        if (tokens[row] < 0 || tokens[row] >= net->head.outputs) return 1;
    constexpr decltype(&step<float>) steps[] = {step<float>, step<Half>, step<Brain>};
    steps[net->storage](*net, *state, tokens, logits);
    return 0;
}
}
