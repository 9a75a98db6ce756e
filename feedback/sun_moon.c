/* New moons after J. Meeus, Astronomical Algorithms (2nd ed.), chapter 49; the sun's longitude by
 * the series of P. Bretagnon and J.-L. Simon, Planetary Programs and Tables from -4000 to +2800;
 * the difference between dynamical and universal time by the polynomials of F. Espenak and Meeus.
 * All three are short because nothing but the day counts: where the day is in doubt, an instant
 * lies within a minute of midnight, and the government's announcement decides, not this file. */
#include "feedback/sun_moon.h"

#include <math.h>
#include <stddef.h>

#include <glib.h>

#include "base/clock.h"

#define JD_1970         2440587.5
#define JD_2000         2451545.0
#define DAY_S           86400.0
#define DAYS_A_YEAR     365.25
#define CENTURY_DAYS    36525.0
#define MOONS_A_CENTURY 1236.85

static double sin_deg(double degrees)
{
    return sin(degrees * G_PI / 180.0);
}

static double cos_deg(double degrees)
{
    return cos(degrees * G_PI / 180.0);
}

/* Dynamical minus universal time in seconds; jd: Julian date. */
static double delta_t_s(double jd)
{
    double year = 2000.0 + (jd - JD_2000) / DAYS_A_YEAR;
    double t = year - 2000.0;

    if (year < 1986.0) {
        t = year - 1975.0;
        return 45.45 + 1.067 * t - t * t / 260.0 - t * t * t / 718.0;
    }
    if (year < 2005.0)
        return 63.86 + t * (0.3345 + t * (-0.060374 +
                                          t * (0.0017275 + t * (0.000651814 + t * 0.00002373599))));
    if (year < 2050.0)
        return 62.92 + t * (0.32217 + t * 0.005589);
    t = (year - 1820.0) / 100.0;
    return -20.0 + 32.0 * t * t - 0.5628 * (2150.0 - year);
}

/* --- moon --- */

/* One periodic term: amplitude in days, times the sine of the given multiples of the sun's mean
 * anomaly, the moon's, and the argument of latitude. Each multiple of the sun's anomaly brings the
 * eccentricity of the earth's orbit in as a factor. */
struct moon_term {
    double days;
    int sun, moon, latitude;
};

static const struct moon_term moon_terms[] = {
    {-0.40720, 0, 1, 0}, {0.17241, 1, 0, 0},    {0.01608, 0, 2, 0},  {0.01039, 0, 0, 2},
    {0.00739, -1, 1, 0}, {-0.00514, 1, 1, 0},   {0.00208, 2, 0, 0},  {-0.00111, 0, 1, -2},
    {-0.00057, 0, 1, 2}, {0.00056, 1, 2, 0},    {-0.00042, 0, 3, 0}, {0.00042, 1, 0, 2},
    {0.00038, 1, 0, -2}, {-0.00024, -1, 2, 0},  {-0.00007, 2, 1, 0}, {0.00004, 0, 2, -2},
    {0.00004, 3, 0, 0},  {0.00003, 1, 1, -2},   {0.00003, 0, 2, 2},  {-0.00003, 1, 1, 2},
    {0.00003, -1, 1, 2}, {-0.00002, -1, 1, -2}, {-0.00002, 1, 3, 0}, {0.00002, 0, 4, 0},
};

/* Planets: amplitude in days, angle in degrees at k = 0 and per moon. */
static const double planet_terms[][3] = {
    {0.000165, 251.88, 0.016321}, {0.000164, 251.83, 26.651886}, {0.000126, 349.42, 36.412478},
    {0.000110, 84.66, 18.206239}, {0.000062, 141.74, 53.303771}, {0.000060, 207.14, 2.453732},
    {0.000056, 154.84, 7.306860}, {0.000047, 34.52, 27.261239},  {0.000042, 207.19, 0.121824},
    {0.000040, 291.34, 1.844379}, {0.000037, 161.72, 24.198154}, {0.000035, 239.56, 25.513099},
    {0.000023, 331.55, 3.592518},
};

/* Julian date, dynamical time. */
static double new_moon_jde(int k)
{
    double t = k / MOONS_A_CENTURY;
    double eccentricity = 1.0 - t * (0.002516 + t * 0.0000074);
    double sun = 2.5534 + 29.10535670 * k - t * t * (0.0000014 + t * 0.00000011);
    double moon =
        201.5643 + 385.81693528 * k + t * t * (0.0107582 + t * (0.00001238 - t * 0.000000058));
    double latitude =
        160.7108 + 390.67050284 * k - t * t * (0.0016118 + t * (0.00000227 - t * 0.000000011));
    double node = 124.7746 - 1.56375588 * k + t * t * (0.0020672 + t * 0.00000215);
    double jde = 2451550.09766 + 29.530588861 * k +
                 t * t * (0.00015437 + t * (-0.000000150 + t * 0.00000000073));

    for (size_t i = 0; i < G_N_ELEMENTS(moon_terms); i++) {
        const struct moon_term *term = &moon_terms[i];
        double angle = term->sun * sun + term->moon * moon + term->latitude * latitude;
        jde += term->days * pow(eccentricity, ABS(term->sun)) * sin_deg(angle);
    }
    jde += -0.00017 * sin_deg(node);
    jde += 0.000325 * sin_deg(299.77 + 0.107408 * k - 0.009173 * t * t);
    for (size_t i = 0; i < G_N_ELEMENTS(planet_terms); i++)
        jde += planet_terms[i][0] * sin_deg(planet_terms[i][1] + planet_terms[i][2] * k);
    return jde;
}

int64_t new_moon_utc_us(int k)
{
    double jde = new_moon_jde(k);

    return llround(((jde - JD_1970) * DAY_S - delta_t_s(jde)) * (double)USEC_PER_SEC);
}

/* --- sun --- */

/* Amplitude in 10⁻⁷ radian, angle in degrees at J2000 and per century. */
static const double sun_terms[][3] = {
    {403406, 270.54861, 0.9287892},
    {195207, 340.19128, 35999.1376958},
    {119433, 63.91854, 35999.4089666},
    {112392, 331.26220, 35998.7287385},
    {3891, 317.843, 71998.20261},
    {2819, 86.631, 71998.4403},
    {1721, 240.052, 36000.35726},
    {660, 310.26, 71997.4812},
    {350, 247.23, 32964.4678},
    {334, 260.87, -19.4410},
    {314, 297.82, 445267.1117},
    {268, 343.14, 45036.8840},
    {242, 166.79, 3.1008},
    {234, 81.53, 22518.4434},
    {158, 3.50, -19.9739},
    {132, 132.75, 65928.9345},
    {129, 182.95, 9038.0293},
    {114, 162.03, 3034.7684},
    {99, 29.8, 33718.148},
    {93, 266.4, 3034.448},
    {86, 249.2, -2280.773},
    {78, 157.6, 29929.992},
    {72, 257.8, 31556.493},
    {68, 185.1, 149.588},
    {64, 69.9, 9037.750},
    {46, 8.0, 107997.405},
    {38, 197.1, -4444.176},
    {37, 250.4, 151.771},
    {32, 65.3, 67555.316},
    {29, 162.7, 31556.080},
    {28, 341.5, -4561.540},
    {27, 291.6, 107996.706},
    {27, 98.5, 1221.655},
    {25, 146.7, 62894.167},
    {24, 110.0, 31437.369},
    {21, 5.2, 14578.298},
    {21, 342.6, -31931.757},
    {20, 230.9, 34777.243},
    {18, 256.1, 1221.999},
    {17, 45.3, 62894.511},
    {14, 242.9, -4442.039},
    {13, 115.2, 107997.909},
    {13, 151.8, 119.066},
    {13, 285.3, 16859.071},
    {12, 53.3, -4.578},
    {10, 126.6, 26895.292},
    {10, 205.7, -39.127},
    {10, 85.9, 12297.536},
    {10, 146.1, 90073.778},
};

double sun_longitude(int64_t utc_us)
{
    double jd = JD_1970 + (double)utc_us / (double)USEC_PER_SEC / DAY_S;
    double c = (jd + delta_t_s(jd) / DAY_S - JD_2000) / CENTURY_DAYS;
    double series = 0.0, longitude, aberration, nutation;

    for (size_t i = 0; i < G_N_ELEMENTS(sun_terms); i++)
        series += sun_terms[i][0] * sin_deg(sun_terms[i][1] + sun_terms[i][2] * c);
    aberration = 0.0000974 * cos_deg(177.63 + 35999.01848 * c) - 0.005575;
    nutation = -0.004778 * sin_deg(124.90 + c * (-1934.134 + c * 0.002063)) -
               0.0003667 * sin_deg(201.11 + c * (72001.5377 + c * 0.00057));
    longitude =
        282.7771834 + 36000.76953744 * c + series * 1e-7 * 180.0 / G_PI + aberration + nutation;
    longitude = fmod(longitude, 360.0);
    return longitude < 0.0 ? longitude + 360.0 : longitude;
}
